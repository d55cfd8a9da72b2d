//! What a rule says about a provider, checked: what could never be taken, or takes too much, does
//! not start.

use super::{
    Application, Provider, Shared, Upstream,
    address::ProviderUrl,
    code::{Codes, Credentials, Separator},
    http::Http,
    preset::{
        facebook::{self, Facebook},
        github::{self, GitHub},
        google::{self, Google},
        introspection::Introspection,
        userinfo::Userinfo,
        x::{self, X},
    },
    recent::Recent,
};
use aws_lc_rs::digest::{SHA256, digest};
use countersign_jose::base64url;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
    time::Duration,
};
use zeroize::Zeroizing;

/// The longest time an answer is kept: so long, a token that was revoked at the provider is still
/// taken.
const LONGEST_KEPT: Duration = Duration::from_secs(300);

/// The secret of an application that is registered with a provider. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ApplicationSecret(Zeroizing<String>);

impl ApplicationSecret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for ApplicationSecret {
    fn from(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl fmt::Debug for ApplicationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplicationSecret(..)")
    }
}

/// Which provider, or kind of provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamPreset {
    /// X, formerly Twitter.
    X,
    /// GitHub, also GitHub Enterprise.
    GitHub,
    /// Google.
    Google,
    /// Facebook.
    Facebook,
    /// An authorization server with token introspection (RFC 7662).
    Introspection,
    /// A provider that answers a bearer with a profile.
    Userinfo,
}

impl UpstreamPreset {
    const ALL: [Self; 6] =
        [Self::X, Self::GitHub, Self::Google, Self::Facebook, Self::Introspection, Self::Userinfo];

    fn name(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::GitHub => "github",
            Self::Google => "google",
            Self::Facebook => "facebook",
            Self::Introspection => "introspection",
            Self::Userinfo => "userinfo",
        }
    }

    /// What a setting has no effect with is refused.
    fn takes(self, setting: &str) -> bool {
        match setting {
            "applications" => matches!(self, Self::Google | Self::Introspection),
            "audiences" => self == Self::Introspection,
            "binding" => self == Self::Userinfo,
            "subject" => matches!(self, Self::Introspection | Self::Userinfo),
            "fields" => matches!(self, Self::X | Self::Facebook),
            "check_url" => !matches!(self, Self::X | Self::Userinfo),
            "profile_url" => self != Self::Introspection,
            "dangerously_accept_any_application" => matches!(self, Self::X | Self::Userinfo),
            _ => true,
        }
    }
}

impl FromStr for UpstreamPreset {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| format!("{name:?} is not a preset; there is {}", known()))
    }
}

/// What a rule says about a provider.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Which provider.
    pub preset: UpstreamPreset,
    /// The application that is registered there.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<ApplicationSecret>,
    /// Other applications whose tokens are taken.
    pub applications: Vec<String>,
    /// Audiences one of which a token must have.
    pub audiences: Vec<String>,
    /// Where the provider may have sent a code to. Without one, no codes are taken.
    pub redirect_uris: Vec<String>,
    /// The provider's scopes that a token must have.
    pub require_scopes: Vec<String>,
    /// Members of the profile that prove for which application a token was issued, and their
    /// values.
    pub binding: BTreeMap<String, Vec<String>>,
    /// The member that is the subject.
    pub subject: Option<String>,
    /// Members of the profile that are asked for.
    pub fields: Vec<String>,
    /// Where codes are redeemed.
    pub token_url: Option<String>,
    /// Where tokens are checked.
    pub check_url: Option<String>,
    /// Where the profile is.
    pub profile_url: Option<String>,
    /// How long an answer is kept.
    pub cache: Duration,
    /// Whether a token will do whose application nothing proves.
    pub any_application: bool,
}

/// A setting that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {why}")]
pub struct UpstreamSettingsError {
    /// The name of the setting, as the configuration has it.
    pub setting: &'static str,
    /// What is wrong with it and what to do.
    pub why: String,
}

type Checked<T> = Result<T, UpstreamSettingsError>;

fn wrong<T>(setting: &'static str, why: impl Into<String>) -> Checked<T> {
    Err(UpstreamSettingsError { setting, why: why.into() })
}

impl Upstream {
    /// The provider, at work.
    ///
    /// # Errors
    ///
    /// The setting that is missing, has no effect, or would take what nothing proves.
    pub fn new(settings: UpstreamSettings) -> Result<Self, UpstreamSettingsError> {
        settings.check()?;
        let codes = settings.codes()?;
        let (name, trust, subjects_of) = (settings.name(), settings.trust(), settings.subjects_of());
        let provider = settings.provider()?;
        let (require_scopes, recent) = (settings.require_scopes, Recent::new(settings.cache));
        let shared =
            Shared { name, trust, subjects_of, provider, codes, require_scopes, http: Http::new(), recent };
        Ok(Self(Arc::new(shared)))
    }
}

impl UpstreamSettings {
    fn check(&self) -> Checked<()> {
        for (setting, is_set) in [
            ("applications", !self.applications.is_empty()),
            ("audiences", !self.audiences.is_empty()),
            ("binding", !self.binding.is_empty()),
            ("subject", self.subject.is_some()),
            ("fields", !self.fields.is_empty()),
            ("check_url", self.check_url.is_some()),
            ("profile_url", self.profile_url.is_some()),
            ("dangerously_accept_any_application", self.any_application),
        ] {
            if is_set && !self.preset.takes(setting) {
                return wrong(
                    setting,
                    format!("has no effect with preset {:?}; remove it", self.preset.name()),
                );
            }
        }
        if self.token_url.is_some() && self.redirect_uris.is_empty() {
            return wrong("token_url", "has no effect without redirect_uris; remove it");
        }
        for uri in &self.redirect_uris {
            if url::Url::parse(uri).map_or(true, |url| url.fragment().is_some()) {
                return wrong("redirect_uris", format!("{uri:?} is not an absolute URI without a fragment"));
            }
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
        if let Some(field) = self.fields.iter().find(|field| field.is_empty() || !field.bytes().all(plain)) {
            return wrong("fields", format!("{field:?} is not a field; they are of A-Z a-z 0-9 _ ."));
        }
        if self.cache > LONGEST_KEPT {
            return wrong("cache", format!("{:?} is longer than {LONGEST_KEPT:?}", self.cache));
        }
        if let Some((name, _)) = self.binding.iter().find(|(_, values)| values.is_empty()) {
            return wrong("binding", format!("{name:?} has no value that it may have; add one"));
        }
        Ok(())
    }

    fn application(&self) -> Checked<Application> {
        let Some(id) = self.client_id.clone().filter(|id| !id.is_empty()) else {
            return wrong("client_id", "is missing: the id of your application at the provider");
        };
        match self.client_secret.clone() {
            Some(secret) => Ok(Application::new(id, secret)),
            None => wrong("client_secret", "is missing: a reference to the secret of your application"),
        }
    }

    fn url(setting: &'static str, given: Option<&String>, known: Option<&str>) -> Checked<ProviderUrl> {
        let Some(text) = given.map(String::as_str).or(known) else {
            return wrong(setting, "is missing: an address of the provider");
        };
        ProviderUrl::parse(text).or_else(|why| wrong(setting, why.to_string()))
    }

    fn codes(&self) -> Checked<Option<Codes>> {
        if self.redirect_uris.is_empty() {
            return Ok(None);
        }
        let (known, credentials) = match self.preset {
            UpstreamPreset::X => (Some(x::TOKEN_URL), Credentials::Basic),
            UpstreamPreset::GitHub => (Some(github::TOKEN_URL), Credentials::Body),
            UpstreamPreset::Google => (Some(google::TOKEN_URL), Credentials::Body),
            UpstreamPreset::Facebook => (Some(facebook::TOKEN_URL), Credentials::Body),
            UpstreamPreset::Introspection | UpstreamPreset::Userinfo => (None, Credentials::Basic),
        };
        let url = Self::url("token_url", self.token_url.as_ref(), known)?;
        let redirect_uris = self.redirect_uris.clone();
        let separator =
            if self.preset == UpstreamPreset::GitHub { Separator::Comma } else { Separator::Space };
        let application = self.application()?;
        Ok(Some(Codes { url, application, credentials, separator, redirect_uris }))
    }

    fn provider(&self) -> Checked<Provider> {
        let check = |known| Self::url("check_url", self.check_url.as_ref(), known);
        let profile = |known| Self::url("profile_url", self.profile_url.as_ref(), known);
        let subject = || self.subject.clone().unwrap_or_else(|| "sub".to_owned());
        let has_codes = !self.redirect_uris.is_empty();
        let unused_secret = || match &self.client_secret {
            Some(_) if !has_codes => wrong("client_secret", "has no effect without redirect_uris; remove it"),
            _ => Ok(()),
        };
        Ok(match self.preset {
            UpstreamPreset::X => {
                unused_secret()?;
                self.check_binding(has_codes)?;
                let fields = match self.fields.as_slice() {
                    [] => Vec::new(),
                    more => {
                        ["id", "name", "username"].map(str::to_owned).iter().chain(more).cloned().collect()
                    }
                };
                let profile = profile(Some(x::PROFILE_URL))?;
                Provider::X(X { profile, fields, any_application: self.any_application })
            }
            UpstreamPreset::GitHub => {
                let application = self.application()?;
                let check = match &self.check_url {
                    Some(_) => check(None)?,
                    None => check(Some(github::CHECK_URL))?.below(&[&application.id, "token"]),
                };
                Provider::GitHub(GitHub { application, check, profile: profile(Some(github::PROFILE_URL))? })
            }
            UpstreamPreset::Google => {
                unused_secret()?;
                let mut applications = self.applications.clone();
                applications.extend(self.client_id.clone());
                if applications.iter().all(String::is_empty) {
                    return wrong(
                        "client_id",
                        "is missing: the id of the application whose tokens are taken",
                    );
                }
                let (check, profile) = (check(Some(google::CHECK_URL))?, profile(Some(google::PROFILE_URL))?);
                Provider::Google(Google { applications, check, profile })
            }
            UpstreamPreset::Facebook => {
                let application = self.application()?;
                let (check, profile) =
                    (check(Some(facebook::CHECK_URL))?, profile(Some(facebook::PROFILE_URL))?);
                let fields = match self.fields.as_slice() {
                    [] => ["id", "name"].map(str::to_owned).to_vec(),
                    more => ["id".to_owned()].iter().chain(more).cloned().collect(),
                };
                Provider::Facebook(Facebook { application, check, profile, fields })
            }
            UpstreamPreset::Introspection => {
                let (applications, audiences) = (self.applications.clone(), self.audiences.clone());
                if applications.is_empty() && audiences.is_empty() {
                    let why = "tokens of every application would be taken; name the applications (`client_id` in the \
                               answer), or `audiences`";
                    return wrong("applications", why);
                }
                let (application, check) = (self.application()?, check(None)?);
                let subject = subject();
                Provider::Introspection(Introspection {
                    application,
                    check,
                    applications,
                    audiences,
                    subject,
                })
            }
            UpstreamPreset::Userinfo => {
                unused_secret()?;
                self.check_binding(has_codes || !self.binding.is_empty())?;
                let (profile, binding) = (profile(None)?, self.binding.clone());
                let any_application = self.any_application;
                Provider::Userinfo(Userinfo { profile, subject: subject(), binding, any_application })
            }
        })
    }

    /// A provider that cannot prove for which application a token was issued.
    fn check_binding(&self, is_bound: bool) -> Checked<()> {
        if !is_bound && !self.any_application {
            let more = match self.preset {
                UpstreamPreset::Userinfo => ", or `binding`: a member of the profile that proves it",
                _ => "",
            };
            let why = format!(
                "is missing: the provider does not say for which application a token was issued; take authorization codes \
                 (client_id, client_secret, redirect_uris){more}"
            );
            return wrong("redirect_uris", why);
        }
        if !is_bound && !self.require_scopes.is_empty() {
            let why = "the provider does not say which scopes a token has, unless a code is redeemed (redirect_uris)";
            return wrong("require_scopes", why);
        }
        Ok(())
    }

    /// What it was granted by: the name, and a digest of everything that binds a token. Families of
    /// refresh tokens end when one of it changes.
    fn trust(&self) -> String {
        let binds = serde_json::json!({
            "preset": self.preset.name(),
            "client_id": self.client_id,
            "applications": sorted(&self.applications),
            "audiences": sorted(&self.audiences),
            "redirect_uris": sorted(&self.redirect_uris),
            "require_scopes": sorted(&self.require_scopes),
            "binding": self.binding.iter().map(|(name, values)| (name, sorted(values))).collect::<BTreeMap<_, _>>(),
            "subject": self.subject,
            "token_url": self.token_url,
            "check_url": self.check_url,
            "profile_url": self.profile_url,
            "any_application": self.any_application,
        });
        let digest = digest(&SHA256, binds.to_string().as_bytes());
        format!("{} sha256:{}", self.name(), base64url::encode(digest.as_ref()))
    }

    /// Where a subject is the same user. Google says the same of a user in its ID tokens; Facebook
    /// has a name of a user for each application.
    fn subjects_of(&self) -> String {
        let place = |known: &str| self.profile_url.clone().unwrap_or_else(|| known.to_owned());
        let subject = self.subject.as_deref().unwrap_or("sub");
        match self.preset {
            UpstreamPreset::X => place(x::PROFILE_URL),
            UpstreamPreset::GitHub => place(github::PROFILE_URL),
            UpstreamPreset::Google => place("https://accounts.google.com"),
            UpstreamPreset::Facebook => {
                format!("{} {}", place(facebook::PROFILE_URL), self.client_id.as_deref().unwrap_or_default())
            }
            UpstreamPreset::Introspection => {
                format!("{} {subject}", self.check_url.as_deref().unwrap_or_default())
            }
            UpstreamPreset::Userinfo => format!("{} {subject}", place("")),
        }
    }

    /// The provider and the application: who gave the codes.
    fn name(&self) -> String {
        let place = || self.profile_url.clone().unwrap_or_default();
        let application = match (&self.client_id, self.applications.as_slice()) {
            (Some(id), _) => id.clone(),
            (None, []) => place(),
            (None, applications) => applications.join(" "),
        };
        format!("{} {application}", self.preset.name())
    }
}

/// A list whose order means nothing.
fn sorted(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}
