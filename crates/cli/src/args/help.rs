//! Help as it is shown: in 80 columns, with examples to paste and the page that says more below
//! each command.
//!
//! Lines are broken here, because clap breaks them only with a crate that asks the terminal, and
//! help is read in editors, issues and pages as well. Examples are one table, so that a command
//! without any shows: `tests/e2e/test_help.py` demands some of every command, with options that the
//! command has.

use clap::{Arg, Command};

/// How wide help is.
const WIDTH: usize = 80;
/// How far clap indents the text of an option that stands below it.
const INDENT: usize = 10;

/// The page of a topic.
const PAGES: &str = "docs/";

/// Examples by command, and the page that says more.
const EXAMPLES: [(&str, &[&str], &str); 43] = [
    (
        "",
        &["countersign serve", "countersign sign --claims '{\"sub\":\"alice\"}' | countersign verify -"],
        "../README.md",
    ),
    (
        "serve",
        &[
            "countersign serve",
            "countersign serve --config /etc/countersign/countersign.toml",
            "countersign serve --listen 127.0.0.1:8081",
        ],
        "operations.md",
    ),
    (
        "init",
        &[
            "countersign init --issuer https://id.example.com",
            "countersign init --issuer https://id.example.com --key old.pem --kid k1",
            "countersign init --config etc/countersign.toml --no-client",
        ],
        "configuration.md",
    ),
    (
        "sign",
        &[
            "countersign sign --claims '{\"sub\":\"alice\"}' --lifetime 15m",
            "countersign sign --claims @claims.json --audience api://web",
            "countersign sign --profile jaas --claims '{\"room\":\"standup\"}'",
        ],
        "clients.md",
    ),
    (
        "verify",
        &[
            "countersign verify \"$TOKEN\" --issuer https://id.example.com --audience api",
            "countersign verify @token.txt --jwks jwks.json",
            "countersign verify - --jwks https://id.example.com/.well-known/jwks.json",
            "countersign verify @data.txt --alb \"$ALB\" --issuer https://id.example.com",
        ],
        "verify.md",
    ),
    (
        "explain",
        &[
            "countersign explain \"$TOKEN\" --issuer https://id.example.com",
            "countersign explain @token.txt --jwks certificate.pem",
        ],
        "verify.md",
    ),
    (
        "decode",
        &[
            "countersign decode \"$TOKEN\"",
            "curl -s … | countersign decode -",
            "countersign decode @answer.json --json",
        ],
        "verify.md",
    ),
    (
        "authorize",
        &[
            "countersign authorize --event event.json",
            "countersign authorize --event - --explain < event.json",
        ],
        "api-gateway.md",
    ),
    ("keys", &["countersign keys list", "countersign keys import old.pem --kid k1"], "keys.md"),
    (
        "keys list",
        &["countersign keys list", "countersign keys list --json | jq -r '.keys[].kid'"],
        "keys.md",
    ),
    ("keys init", &["countersign keys init"], "stores.md"),
    ("keys accept-loss", &["countersign keys accept-loss --sequence 7 lost-kid"], "stores.md"),
    ("keys correct-times", &["countersign keys correct-times"], "operations.md"),
    (
        "keys prepare",
        &[
            "countersign keys prepare",
            "countersign keys prepare --ring hs --show-secret --json | jq -r .secret",
        ],
        "keys.md",
    ),
    ("keys publish", &["countersign keys publish k2"], "keys.md"),
    ("keys activate", &["countersign keys activate k2", "countersign keys activate k2 --force"], "keys.md"),
    ("keys retire", &["countersign keys retire k2"], "keys.md"),
    ("keys revoke", &["countersign keys revoke k1"], "keys.md"),
    (
        "keys remove",
        &["countersign keys remove k1", "countersign keys remove --signed-nothing wrong-ring"],
        "keys.md",
    ),
    ("keys adopt", &["countersign keys adopt", "countersign keys adopt --digest SHA256"], "stores.md"),
    (
        "keys rotate",
        &[
            "countersign keys rotate --publish site --check",
            "countersign keys rotate --publish s3://my-bucket --cloudfront E2QW --check",
        ],
        "scheduler.md",
    ),
    (
        "keys export",
        &["countersign keys export > jwks.json", "countersign keys export --format pem --ring default"],
        "keys.md",
    ),
    (
        "keys generate",
        &["countersign keys generate --jaas", "countersign keys generate --jaas --out jaas.pem"],
        "jaas.md",
    ),
    ("keys reseal", &["countersign keys reseal", "countersign keys reseal --new-data-key"], "keys.md"),
    (
        "keys import",
        &[
            "countersign keys import old.pem --kid k1 --activate",
            "countersign keys import --env PRIVATE_KEY --ring jaas --kid \"$JAAS_API_KID\"",
            "countersign keys import --mongodb env:MONGO_URL --collection keys",
        ],
        "keys.md",
    ),
    (
        "store",
        &["countersign store check", "countersign store copy sqlite:countersign.db env:DATABASE_URL"],
        "stores.md",
    ),
    ("store create", &["countersign store create dynamodb://countersign"], "stores.md"),
    ("store check", &["countersign store check", "countersign store check env:DATABASE_URL"], "stores.md"),
    ("store copy", &["countersign store copy sqlite:countersign.db env:DATABASE_URL"], "stores.md"),
    ("client", &["countersign client new web --audience api://web", "countersign client list"], "clients.md"),
    (
        "client new",
        &[
            "countersign client new web --audience api://web --claim sub --claim email",
            "countersign client new batch --grant client_credentials --scope read",
            "countersign client new meet --profile jaas --jaas-room 'team-*'",
        ],
        "clients.md",
    ),
    ("client list", &["countersign client list", "countersign client list --json"], "clients.md"),
    ("client secret", &["countersign client secret web"], "clients.md"),
    ("tokens", &["countersign tokens revoke --subject alice", "countersign tokens revoked"], "tokens.md"),
    (
        "tokens revoke",
        &["countersign tokens revoke --subject alice", "countersign tokens revoke --jti 5f0c…"],
        "tokens.md",
    ),
    ("tokens revoked", &["countersign tokens revoked"], "tokens.md"),
    ("exchange", &["countersign exchange --explain token.jwt --client web"], "exchange.md"),
    (
        "publish",
        &[
            "countersign publish site",
            "countersign publish s3://my-bucket/auth",
            "countersign publish --check",
        ],
        "publishing.md",
    ),
    ("config", &["countersign config check"], "configuration.md"),
    ("config check", &["countersign config check", "countersign config check --online"], "configuration.md"),
    ("completions", &["countersign completions bash > /etc/bash_completion.d/countersign"], "packages.md"),
    ("config prosody", &["countersign config prosody > countersign.cfg.lua"], "jitsi.md"),
    ("config schema", &["countersign config schema > countersign.schema.json"], "configuration.md"),
];

/// The command line with its help as it is shown.
pub(crate) fn of(command: Command) -> Command {
    below(command, "")
}

fn below(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let longest = names.iter().map(String::len).max().unwrap_or(0);
    let command = match text(path) {
        Some(text) => command.after_help(text),
        None => command,
    };
    let command = command.mut_args(arg);
    names.into_iter().fold(command, |command, name| {
        let path = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command.mut_subcommand(name, |sub| {
            let about = sub.get_about().map(|about| broken(&about.to_string(), WIDTH - longest - 4));
            let sub = about.into_iter().fold(sub, |sub, about| sub.about(about));
            below(sub, &path)
        })
    })
}

/// An argument with what clap would put behind its text, so that it is broken with it.
fn arg(arg: Arg) -> Arg {
    let Some(help) = arg.get_help() else { return arg };
    let mut help = help.to_string();
    let defaults: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values() {
        help.push_str(&format!(" [default: {}]", defaults.join(" ")));
    }
    let possible: Vec<_> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !possible.is_empty() && !arg.is_hide_possible_values_set() && arg.get_action().takes_values() {
        help.push_str(&format!(" [possible values: {}]", possible.join(", ")));
    }
    let takes_values = arg.get_action().takes_values();
    let arg = arg.help(broken(&help, WIDTH - INDENT)).next_line_help(true);
    if takes_values { arg.hide_default_value(true).hide_possible_values(true) } else { arg }
}

/// A text in lines of at most so many characters.
fn broken(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn text(path: &str) -> Option<String> {
    let (_, examples, page) = EXAMPLES.iter().find(|(of, ..)| *of == path)?;
    let lines: Vec<String> = examples.iter().map(|example| format!("  {example}")).collect();
    let page = page.strip_prefix("../").map_or_else(|| format!("{PAGES}{page}"), str::to_owned);
    Some(format!("Examples:\n{}\n\nMore: {page}", lines.join("\n")))
}
