//! What a rule says of a meeting: for whom it gives tokens of profile `jaas` or `jitsi`, and for
//! which rooms.
//!
//! Room and user are those of the token that is shown, or of the rule; of the request there is only
//! which of the rule's rooms is meant. No such token is for every room, and none has a room that is
//! read as a pattern, whatever the client may have at `POST /sign`. What comes out of here is what
//! would be sent there as `data`, and goes the same way: the client's policy judges it (decision
//! 0057). Pinned by `tests/suite/meeting_properties.rs` and tests/e2e/test_meetings.py.

use super::{
    error::ExchangeError,
    expression::{EvaluationError, Expression, claims_of},
    judge::Exchanged,
};
use countersign_issuer::{MeetingService, RoomPattern};
use countersign_jose::json::{Object, string};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The longest room's name, as everywhere.
const MAX_ROOM: usize = 200;
/// The most rooms that one token is worth.
const MAX_ROOMS: usize = 64;
/// The longest text of a member of `user` that is taken over without anybody's saying so.
const MAX_TEXT: usize = 1024;
/// The longest value of an expression.
const MAX_VALUE: usize = 16 * 1024;

/// The meeting of a rule.
#[derive(Debug)]
pub struct MeetingTerms {
    /// Who runs it.
    pub service: MeetingService,
    /// The rooms that may be asked for.
    pub rooms: Vec<RoomPattern>,
    /// The room, or the list of rooms, by the token that is shown.
    pub room: Option<Expression>,
    /// The members of `user` that every client of the rule may set, or that the rule names.
    pub user: BTreeMap<UserMember, Option<Expression>>,
    /// Whether they become moderator.
    pub moderator: Option<Expression>,
    /// The features, and who has them.
    pub features: BTreeMap<String, Expression>,
}

/// A member of `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserMember {
    /// Whom the token is about: the subject of what is exchanged, with its provider.
    Id,
    /// `name`.
    Name,
    /// `email`, where `email_verified` is true.
    Email,
    /// `picture`, an https URL.
    Avatar,
}

impl UserMember {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Id, Self::Name, Self::Email, Self::Avatar];

    /// Its name in a meeting token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Email => "email",
            Self::Avatar => "avatar",
        }
    }

    /// The member of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|member| member.name() == name)
    }

    /// What a provider's token says of it (OpenID Connect Core §5.1), if that is fit for a meeting.
    fn in_claims(self, claims: &Object<'_>, subject: &str) -> Option<String> {
        let text = |name: &str| claims.get(name).and_then(string).map(std::borrow::Cow::into_owned);
        let found = match self {
            Self::Id => Some(subject.to_owned()),
            Self::Name => text("name"),
            Self::Email => {
                let verified = claims.get("email_verified").map(|raw| raw.get());
                text("email").filter(|_| matches!(verified, Some("true" | "\"true\"")))
            }
            Self::Avatar => text("picture").filter(|url| url.starts_with("https://")),
        };
        let fits = |text: &String| text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
        found.filter(|text| self == Self::Id || fits(text))
    }
}

impl MeetingTerms {
    /// Every expression, with its setting below the rule.
    pub(super) fn expressions(&self) -> impl Iterator<Item = (String, &Expression)> {
        let single = [("room", &self.room), ("moderator", &self.moderator)];
        let single = single
            .into_iter()
            .filter_map(|(name, expression)| Some((format!("meeting.{name}"), expression.as_ref()?)));
        let user = self.user.iter().filter_map(|(member, expression)| {
            Some((format!("meeting.user.{}", member.name()), expression.as_ref()?))
        });
        let features = self.features.iter();
        let features = features.map(|(name, expression)| (format!("meeting.features.{name}"), expression));
        single.chain(user).chain(features)
    }

    /// `data` of the token, for a request that means this room.
    pub(super) fn data(
        &self,
        exchanged: &Exchanged<'_>,
        asked: Option<&str>,
    ) -> Result<String, ExchangeError> {
        let claims = claims_of(&exchanged.shown.claims).map_err(|why| failed("room", why))?;
        let room = self.room_for(&claims, asked)?;
        let mut user = Map::new();
        for (member, expression) in &self.user {
            let value = match expression {
                None => member.in_claims(&claims, &exchanged.subject),
                Some(expression) => text(&format!("user.{}", member.name()), expression, &claims)?,
            };
            if let Some(value) = value {
                user.insert(member.name().to_owned(), value.into());
            }
        }
        let holds =
            |name: &str, expression: &Expression| expression.holds(&claims).map_err(|why| failed(name, why));
        let moderator = self.moderator.as_ref().map(|expression| holds("moderator", expression));
        let moderator = moderator.transpose()?.unwrap_or_default();
        let mut features = Map::new();
        for (name, expression) in &self.features {
            // 8x8 grants them to moderators only, and a token with one for anybody else is not
            // minted.
            let may = moderator || self.service != MeetingService::Jaas;
            if may && holds(&format!("features.{name}"), expression)? {
                features.insert(name.clone(), true.into());
            }
        }
        let data = Map::from_iter([
            ("room".to_owned(), Value::from(room)),
            ("user".to_owned(), user.into()),
            ("moderator".to_owned(), moderator.into()),
            ("features".to_owned(), features.into()),
        ]);
        Ok(Value::from(data).to_string())
    }

    /// The room: the one that is meant, if the rule has it, or the only one there is.
    fn room_for(&self, claims: &Object<'_>, asked: Option<&str>) -> Result<String, ExchangeError> {
        let of_token = match &self.room {
            Some(expression) => rooms(expression, claims)?,
            None => Vec::new(),
        };
        let of_token: Vec<String> = of_token.into_iter().map(|room| self.compared(&room)).collect();
        let room = match (asked, of_token.as_slice(), self.rooms.as_slice()) {
            (Some(asked), _, _) => self.compared(asked),
            (None, [one], []) => one.clone(),
            (None, [], [one]) if self.room.is_none() => one.to_string(),
            (None, _, _) => return Err(ExchangeError::WhichRoom),
        };
        let fits = (1..=MAX_ROOM).contains(&room.chars().count());
        if !fits || room.contains('*') || room.chars().any(char::is_control) {
            return Err(if asked.is_some() { ExchangeError::RoomName } else { ExchangeError::WhichRoom });
        }
        let is_given = of_token.contains(&room) || self.rooms.iter().any(|pattern| pattern.matches(&room));
        if is_given { Ok(room) } else { Err(ExchangeError::Room) }
    }

    /// A room as its service compares it.
    fn compared(&self, room: &str) -> String {
        match self.service {
            MeetingService::Jaas => room.to_owned(),
            MeetingService::Jitsi => room.to_lowercase(),
        }
    }
}

fn failed(setting: &str, why: EvaluationError) -> ExchangeError {
    ExchangeError::Meeting { setting: setting.to_owned(), why }
}

fn not_texts(setting: &str) -> ExchangeError {
    failed(setting, EvaluationError::WrongType("its value is not a text".to_owned()))
}

/// A text; `None` for null.
fn text(
    setting: &str,
    expression: &Expression,
    claims: &Object<'_>,
) -> Result<Option<String>, ExchangeError> {
    let json = expression.json(claims, MAX_VALUE).map_err(|why| failed(setting, why))?;
    let value = json.map(|json| serde_json::from_str::<String>(&json)).transpose();
    value.map_err(|_| not_texts(setting))
}

/// A text or a list of texts; none for null.
fn rooms(expression: &Expression, claims: &Object<'_>) -> Result<Vec<String>, ExchangeError> {
    let json = expression.json(claims, MAX_VALUE).map_err(|why| failed("room", why))?;
    let Some(json) = json else { return Ok(Vec::new()) };
    if let Ok(one) = serde_json::from_str::<String>(&json) {
        return Ok(vec![one]);
    }
    let many: Vec<String> = serde_json::from_str(&json).map_err(|_| not_texts("room"))?;
    if many.len() > MAX_ROOMS { Err(failed("room", EvaluationError::TooMuch)) } else { Ok(many) }
}
