//! Which algorithms consumers take: `algorithms.csv`, with a row for each.
//!
//! What a library takes is what it said in `tests/interop/test_verifiers.py`, which fails when its
//! row says otherwise; what a service takes is what its vendor documents. `docs/keys.md` shows the
//! same table.

use crate::Consumer;

/// A header, then the rows: title, name in configurations if it has one, what the row is known
/// from, and for each algorithm `yes` or `no`.
const TABLE: &str = include_str!("../algorithms.csv");

/// What stands before the algorithms in each line.
const ABOUT: usize = 3;

/// The titles of consumers that do not take tokens signed with an algorithm: of these alone, or
/// with `other` among them of all that are known.
///
/// Nothing is said of an algorithm that is not in the table (those with a shared secret), nor of a
/// consumer of which nothing is known.
pub fn refusing(algorithm: &str, consumers: &[&Consumer]) -> Vec<&'static str> {
    let mut lines = TABLE.lines().map(|line| line.split(','));
    let algorithms = lines.next().into_iter().flatten().skip(ABOUT);
    let Some(column) = algorithms.into_iter().position(|name| name == algorithm) else { return Vec::new() };
    let asked = |name| consumers.iter().any(|consumer| consumer.name == name);
    let refuses = |mut row: std::str::Split<'static, char>| {
        let (title, name) = (row.next()?, row.next()?);
        let takes = row.nth(column.saturating_add(1))? == "yes";
        (!takes && (asked("other") || asked(name))).then_some(title)
    };
    lines.filter_map(refuses).collect()
}

/// The algorithms that a consumer takes; `None` where nothing is known of it.
pub fn taken_by(consumer: &Consumer) -> Option<Vec<&'static str>> {
    let mut lines = TABLE.lines().map(|line| line.split(','));
    let algorithms = lines.next()?.skip(ABOUT);
    let row = lines.find(|row| row.clone().nth(1) == Some(consumer.name))?.skip(ABOUT);
    Some(algorithms.zip(row).filter_map(|(name, taken)| (taken == "yes").then_some(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<&'static Consumer> {
        names.iter().map(|name| Consumer::named(name).unwrap()).collect()
    }

    #[test]
    fn every_row_is_complete_and_names_a_consumer_or_none() {
        let rows: Vec<Vec<_>> = TABLE.lines().map(|line| line.split(',').collect()).collect();
        for row in &rows {
            assert_eq!(row.len(), rows[0].len(), "{row:?}");
        }
        for row in &rows[1..] {
            assert!(row[1].is_empty() || Consumer::named(row[1]).is_ok(), "{row:?}");
            assert!(row[ABOUT..].iter().all(|cell| ["yes", "no"].contains(cell)), "{row:?}");
            assert_eq!(rows.iter().filter(|other| other[0] == row[0]).count(), 1, "{row:?}");
        }
    }

    #[test]
    fn everything_that_is_known_takes_rs256() {
        assert_eq!(refusing("RS256", &named(&["other"])), [""; 0]);
    }

    #[test]
    fn names_those_that_refuse_an_algorithm() {
        let refusing = refusing("EdDSA", &named(&["other"]));
        for title in
            ["Spring Security (issuer)", "Nimbus", "java-jwt", "Kubernetes", "Application Load Balancer"]
        {
            assert!(refusing.contains(&title), "{refusing:?}");
        }
        assert!(!refusing.contains(&"go-oidc"), "{refusing:?}");
    }

    #[test]
    fn says_nothing_of_consumers_that_were_not_asked_for() {
        assert_eq!(refusing("EdDSA", &named(&["kubernetes", "jose", "countersign"])), ["Kubernetes"]);
        assert_eq!(refusing("ES256", &named(&["kubernetes"])), [""; 0]);
        assert_eq!(refusing("EdDSA", &[]), [""; 0]);
    }

    #[test]
    fn says_what_a_consumer_takes_where_that_is_known() {
        let taken = |name: &str| taken_by(Consumer::named(name).unwrap());
        assert_eq!(taken("aws-http-api"), Some(vec!["RS256", "RS384", "RS512"]));
        assert_eq!(taken("aws-alb"), Some(vec!["RS256"]));
        assert_eq!((taken("other"), taken("aws-cognito")), (None, None));
        // Both are read from the same rows.
        for consumer in crate::CONSUMERS.iter().filter(|consumer| consumer.name != "other") {
            let taken = taken_by(consumer);
            for algorithm in TABLE.lines().next().unwrap().split(',').skip(ABOUT) {
                let refused = !refusing(algorithm, &named(&[consumer.name])).is_empty();
                assert_eq!(
                    refused,
                    taken.as_ref().is_some_and(|taken| !taken.contains(&algorithm)),
                    "{algorithm}"
                );
            }
        }
    }

    #[test]
    fn says_nothing_of_shared_secrets() {
        assert_eq!(refusing("HS256", &named(&["other"])), [""; 0]);
        assert_eq!(refusing("consumer", &named(&["other"])), [""; 0]);
    }
}
