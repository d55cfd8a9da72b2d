//! What to write in place of a name that is no setting: the known name that is nearest, the
//! underscores that are missing, the table in which there is such a setting.
//!
//! Only the type knows which settings there are, so each guess is tried on it: what it takes, or
//! refuses for its value alone, is one.

use crate::overrides::{Misfit, PREFIX, is_missing, parse, set, told};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// More underscores than any setting has; each doubles the guesses.
const MOST_UNDERSCORES: usize = 6;

/// What to write for the variable `name`, which `why` refuses, in whole words; `None` where nothing
/// is near, or its value is wrong.
pub(crate) fn variable<T: DeserializeOwned>(
    table: &Table,
    why: &Misfit,
    name: &str,
    value: &Value,
) -> Option<String> {
    let is_unknown = why.error.message().starts_with("unknown field `");
    if !is_unknown && !wants_a_table(why) {
        return None;
    }
    let dots = |name: &str| name.to_ascii_lowercase().replace("__", ".");
    let is_setting = |name: &String| is_setting::<T>(table, name, value);
    if let Some(name) = more_underscores(name).into_iter().find(is_setting) {
        return Some(format!(
            "there is no such setting; for {} write two underscores: {PREFIX}{name}",
            dots(&name)
        ));
    }
    if !is_unknown {
        return None;
    }
    if let Some(name) = in_tables(why, name).into_iter().find(is_setting) {
        return Some(format!("there is no such setting; for {} write {PREFIX}{name}", dots(&name)));
    }
    // The table is there, and has nothing of that name.
    let (first, rest) = name.split_once('_').filter(|(_, rest)| !rest.starts_with('_'))?;
    if !known(why).any(|known| known.eq_ignore_ascii_case(first)) {
        return None;
    }
    let name = format!("{first}__{rest}");
    let why = misfit::<T>(table, &name, value)?;
    Some(format!(
        "there is no such setting; {PREFIX}{name}, with two underscores, would be {}, which does not exist either: {}",
        dots(&name),
        told(&why.error)
    ))
}

/// Where a key of the file that is unknown at the top is a setting, as `listen in [server]`.
pub(crate) fn table_of_key<T: DeserializeOwned>(table: &Table, why: &Misfit) -> Option<String> {
    let [key] = why.path.as_slice() else { return None };
    let value = table.get(key).filter(|value| !value.is_table() && !value.is_array())?;
    if !why.error.message().starts_with("unknown field `") {
        return None;
    }
    let mut table = table.clone();
    table.remove(key);
    let name = in_tables(why, key).into_iter().find(|name| is_setting::<T>(&table, name, value))?;
    let (table, _) = name.split_once("__")?;
    Some(format!("`{key}` is a setting of [{}]", table.to_ascii_lowercase()))
}

/// The name with one, two or more of its single underscores made two, those with the fewest first.
fn more_underscores(name: &str) -> Vec<String> {
    let at = |index: usize| name.as_bytes().get(index).copied();
    let single = |(index, c): (usize, char)| {
        (c == '_' && at(index + 1) != Some(b'_') && (index == 0 || at(index - 1) != Some(b'_')))
            .then_some(index)
    };
    let places: Vec<usize> = name.char_indices().filter_map(single).collect();
    if places.len() > MOST_UNDERSCORES {
        return Vec::new();
    }
    let mut choices: Vec<u32> = (1..1 << places.len()).collect();
    choices.sort_by_key(|choice: &u32| choice.count_ones());
    let doubled = |choice: u32| {
        let mut longer = name.to_owned();
        for (bit, place) in places.iter().enumerate().rev() {
            if choice >> bit & 1 == 1 {
                longer.insert(*place, '_');
            }
        }
        longer
    };
    choices.into_iter().map(doubled).collect()
}

/// The name as one of each table that is known where it is not.
fn in_tables(why: &Misfit, name: &str) -> Vec<String> {
    known(why).map(|table| format!("{}__{name}", table.to_ascii_uppercase())).collect()
}

/// The names that the type knows there.
fn known(why: &Misfit) -> impl Iterator<Item = &str> {
    why.error.message().split('`').skip(3).step_by(2)
}

/// Whether there is such a setting, be its value right or wrong.
fn is_setting<T: DeserializeOwned>(table: &Table, name: &str, value: &Value) -> bool {
    misfit::<T>(table, name, value).is_none_or(|why| {
        let is_whole = why.path.join("__").eq_ignore_ascii_case(name);
        is_whole && !wants_a_table(&why) && !why.error.message().starts_with("unknown field `")
    })
}

/// What is wrong with this setting, if anything is.
fn misfit<T: DeserializeOwned>(table: &Table, name: &str, value: &Value) -> Option<Box<Misfit>> {
    let mut table = table.clone();
    set(&mut table, name, value.clone());
    parse::<T>(table).err().filter(|why| !is_missing(&why.error) && why.is_about(name))
}

fn wants_a_table(why: &Misfit) -> bool {
    why.error
        .message()
        .rsplit_once(", expected ")
        .is_some_and(|(_, kind)| kind.starts_with("struct ") || kind == "a map")
}

/// A message about a name that is unknown, with the known one that is nearest to it, if one is
/// near.
pub(crate) fn with_the_nearest(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(typed) = names.next() else { return message.to_owned() };
    let near = names.map(|name| (distance(typed, name), name)).min();
    let most = if typed.len() < 5 { 1 } else { 2 };
    match (near, message.split_once(", expected ")) {
        (Some((by, name)), Some((unknown, rest))) if by <= most => {
            format!("{unknown}; did you mean `{name}`? expected {rest}")
        }
        _ => message.to_owned(),
    }
}

/// How many characters have to be changed, left out or put in to make one text the other
/// (Levenshtein). Names are short; longer ones are far away from every name.
fn distance(one: &str, other: &str) -> usize {
    const LONGEST_NAME: usize = 64;
    if one.len() > LONGEST_NAME {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.chars().enumerate() {
        let mut before = at;
        let mut left = at + 1;
        let mut next = vec![left];
        for (d, above) in other.iter().zip(row.iter().skip(1)) {
            let changed = before + usize::from(c != *d);
            left = changed.min(left + 1).min(above + 1);
            before = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_names_is_the_number_of_changes() {
        assert_eq!((distance("", "ab"), distance("isuer", "issuer"), distance("stroe", "store")), (2, 1, 2));
    }

    #[test]
    fn single_underscores_are_doubled_the_fewest_first() {
        assert_eq!(more_underscores("A_B"), ["A__B"]);
        assert_eq!(more_underscores("A_B__C_D"), ["A__B__C_D", "A_B__C__D", "A__B__C__D"]);
        assert!(more_underscores("A__B").is_empty() && more_underscores("A_A_A_A_A_A_A_A").is_empty());
    }
}
