//! Levels of the log: a bad one is repeated with what may be written instead, a misspelt one is
//! never taken for a target.

use super::*;

#[test]
fn a_bad_level_is_repeated_with_what_may_be_written_instead() {
    let why = start("loud").unwrap_err();
    assert_eq!(
        why.to_string(),
        "log.level \"loud\" is not a level (off, error, warn, info, debug, trace) or a list like \
         info,countersign::audit=off"
    );
}

#[test]
fn a_level_that_is_misspelt_is_refused_and_not_taken_for_a_target() {
    for level in ["info", "off", "WARN", "info,countersign::audit=off", "warn, hyper=debug"] {
        assert!(parse(level).is_some(), "{level}");
    }
    for level in ["", "loud", "inf", "info,", "info,audit", "=info", "audit=loud"] {
        assert!(parse(level).is_none(), "{level}");
    }
}

#[test]
fn a_queue_that_is_too_small_or_too_large_is_refused() {
    for queue_bytes in [0, 65_535, 67_108_865, usize::MAX] {
        let why = start_queued(&RawLog { queue_bytes, ..RawLog::default() }, &[]).unwrap_err();
        assert!(matches!(why, SettingsError::LogQueue { bytes } if bytes == queue_bytes), "{why}");
    }
}
