//! One contender in Rust, driven by the harness line by line; `node/contender.mjs` and
//! `python/contender.py` are the others.
//!
//! The first line of the input is what is given (`given.rs`). Every other line is one order,
//! answered by one line: `{"verify": TOKEN}` by true or false, `{"authorize": EVENT}` by the reply
//! as text, or null for the error `Unauthorized`, `{"time": [WHAT, SECONDS]}` by a rate. All of it
//! JSON. Usage: `contender raw|jose|gate`, pinned to a core by the caller.

use anyhow::{Context, Result};
use countersign_benches::{
    given::{Contender, Given},
    measure::rate,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{io::stdin, time::Duration};

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Verify(String),
    Authorize(String),
    Time(String, f64),
}

fn main() -> Result<()> {
    let name = std::env::args().nth(1).context("usage: contender raw|jose|gate")?;
    let mut lines = stdin().lines();
    let given: Given = serde_json::from_str(&lines.next().context("nothing is given")??)?;
    let contender = Contender::new(&name, &given)?;
    for line in lines {
        println!("{}", answer(&contender, &given, serde_json::from_str(&line?)?)?);
    }
    Ok(())
}

fn answer(contender: &Contender, given: &Given, order: Order) -> Result<Value> {
    Ok(match order {
        Order::Verify(token) => json!(contender.accepts(&token)),
        Order::Authorize(event) => json!(contender.authorize(&event)?),
        Order::Time(what, seconds) => {
            let mut operation = contender.operation(&what, given)?;
            serde_json::to_value(rate(&mut operation, Duration::from_secs_f64(seconds))?)?
        }
    })
}
