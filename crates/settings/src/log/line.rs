//! One JSON object a line: timestamp, level, the event's fields as they were given, target.
//!
//! There is one for every token, so a line is written once, straight into a buffer that each thread
//! keeps, and handed over from there. Readers of the lines rely on their form
//! (`tests/e2e/test_observability.py`).

use super::Sink;
use std::{
    cell::{Cell, RefCell},
    fmt::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Writes every event as a line.
pub(super) struct JsonLines(pub(super) Sink);

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let (metadata, now) = (event.metadata(), now());
        let kind = self.0.kind(metadata);
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => {
                line.clear();
                write(&mut line, metadata, now, |fields| event.record(fields));
                self.0.push(kind, &line);
                line.shrink_to(16 * 1024);
            }
            // A value that logs while it is formatted.
            Err(_) => {
                let mut line = Vec::new();
                write(&mut line, metadata, now, |fields| event.record(fields));
                self.0.push(kind, &line);
            }
        });
    }
}

/// Seconds since 1970 and microseconds.
fn now() -> (u64, u32) {
    #[expect(clippy::disallowed_methods, reason = "when a line was logged decides nothing")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_micros())
}

fn write(line: &mut Vec<u8>, metadata: &Metadata<'_>, now: (u64, u32), record: impl FnOnce(&mut Fields<'_>)) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    timestamp(line, now);
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(metadata.level().as_str().as_bytes());
    line.push(b'"');
    record(&mut Fields(line));
    line.extend_from_slice(b",\"target\":");
    string(line, metadata.target());
    line.extend_from_slice(b"}\n");
}

/// The fields of an event, each as `,"name":value`.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        self.0.extend_from_slice(b",\"");
        // Names are Rust identifiers, and those with dots between them.
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        let _ = write!(Escaped(self.0), "{value}");
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.0.push(b'"');
        let _ = write!(Escaped(self.0), "{value:?}");
        self.0.push(b'"');
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        string(self.0, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }
}

fn string(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    escape(line, text);
    line.push(b'"');
}

/// What is formatted into it is part of a JSON string.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// RFC 8259 section 7: quotation mark, reverse solidus and control characters; everything else is
/// left as it is.
fn escape(line: &mut Vec<u8>, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    let mut rest = text.as_bytes();
    // Nearly every text is plain, and to ask all of its bytes is much quicker than to look for the
    // first of another kind.
    if !rest.iter().fold(false, |found, byte| found | special(*byte)) {
        line.extend_from_slice(rest);
        return;
    }
    while let Some(at) = rest.iter().position(|byte| special(*byte)) {
        let (plain, from) = rest.split_at(at);
        line.extend_from_slice(plain);
        let Some((byte, behind)) = from.split_first() else { break };
        match byte {
            b'"' => line.extend_from_slice(b"\\\""),
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            _ => {
                line.extend_from_slice(b"\\u00");
                let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
                line.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
        }
        rest = behind;
    }
    line.extend_from_slice(rest);
}

/// RFC 3339 in UTC with microseconds. The part up to the second is kept by each thread, for as long
/// as the second lasts.
fn timestamp(line: &mut Vec<u8>, (seconds, micros): (u64, u32)) {
    thread_local! {
        static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
    }
    let (of, mut text) = SECOND.get();
    if of != seconds {
        text = date_and_time(seconds);
        SECOND.set((seconds, text));
    }
    line.extend_from_slice(&text);
    line.push(b'.');
    let mut fraction = [0; 6];
    decimal(&mut fraction, micros.into());
    line.extend_from_slice(&fraction);
    line.push(b'Z');
}

/// `2026-01-31T12:34:56`. The Gregorian calendar repeats itself every 400 years of 146,097 days;
/// counted from 1 March, the leap day is the last of a year.
fn date_and_time(seconds: u64) -> [u8; 19] {
    let days = seconds / 86_400 + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = days / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00";
    let second = seconds % 86_400;
    let parts = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, second / 3_600),
        (14..16, second / 60 % 60),
        (17..19, second % 60),
    ];
    for (place, value) in parts {
        if let Some(digits) = text.get_mut(place) {
            decimal(digits, value);
        }
    }
    text
}

/// The last digits of `value`, as many as there is place for.
fn decimal(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut line = Vec::new();
        string(&mut line, text);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_string_is_escaped_as_serde_json_does() {
        let all: String = (0..0x250).filter_map(char::from_u32).chain(['\u{2028}', '\u{1f600}']).collect();
        for text in ["", "plain", "a\"b\\c", "line\nbreak\r\t", "\\\\\"\"", "ends\\", "\u{0}", &all] {
            let mut read: String = serde_json::from_str(&escaped(text)).unwrap();
            assert_eq!(read, text);
            read.clear();
            Escaped(&mut Vec::new()).write_str(text).unwrap();
        }
    }

    #[test]
    fn a_time_is_written_as_date_prints_it() {
        // `date -u -d @N +%FT%T`
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (68_169_599, "1972-02-28T23:59:59"),
            (68_169_600, "1972-02-29T00:00:00"),
            (951_868_799, "2000-02-29T23:59:59"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_767_225_599, "2025-12-31T23:59:59"),
            (1_767_225_600, "2026-01-01T00:00:00"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (253_402_300_799, "9999-12-31T23:59:59"),
        ] {
            let mut line = Vec::new();
            timestamp(&mut line, (seconds, 1_234));
            assert_eq!(String::from_utf8(line).unwrap(), format!("{text}.001234Z"));
        }
    }
}
