//! Whose subjects a provider's name stands in front of: of one place alone, or two users could get
//! one name.
//!
//! Two rules may have one provider when they ask the same one: the same issuer, or the same place
//! whatever the application. Where two places have the same users (the ID tokens of a login server
//! and its introspection, say), a rule says so by name.

use super::{exchange::name, raw::RawExchange, values::at};
use crate::failure::Outcome;
use countersign_grants::ExchangeRule;

/// Refuses rules whose subjects could not be told apart. `rules` are those of `raw`, in the same
/// order.
pub(super) fn check(raw: &[RawExchange], rules: &[ExchangeRule]) -> Outcome {
    for (index, (one, rule)) in raw.iter().zip(rules).enumerate() {
        let is_another = |(other, at): &(&RawExchange, &ExchangeRule)| {
            one.provider.is_some() && other.provider == one.provider && at.subjects_of() != rule.subjects_of()
        };
        let others: Vec<_> = raw.iter().zip(rules).filter(is_another).map(|(other, _)| other).collect();
        let fail = |setting: &str, why: String| {
            Err(at(&format!("exchange[{index}].{setting}"), format!("rule {}: {why}", name(one))))
        };
        if one.shares_provider && others.is_empty() {
            let why = "has no effect: no other rule has its provider for another place; remove it";
            return fail("shares_provider", why.to_owned());
        }
        // Of those that share, one may be silent: what the others share is its name.
        if let Some(other) = others.iter().find(|other| !one.shares_provider && !other.shares_provider) {
            let why = format!(
                "{:?} stands in front of the subjects of the rule {} too, which come from another place, so two users could \
                 have one name; give each a provider of its own, or say `shares_provider = true` if they are the same users",
                one.provider.as_deref().unwrap_or_default(),
                name(other)
            );
            return fail("provider", why);
        }
    }
    Ok(())
}
