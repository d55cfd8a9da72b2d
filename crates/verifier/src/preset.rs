//! Presets: well-known issuers described from one id, with the rules that are easy to forget.
//!
//! A preset fills in a [`TrustedIssuerBuilder`]; whatever it does not know (most audiences) is
//! still to be given, and anything can be replaced. The source of each is named at its function.
//! Ids are checked before they become part of an address.

use crate::{
    source::{KeySource, KeyUrl, without_credentials},
    trusted::{AudienceFallback, TrustError, TrustedIssuer, TrustedIssuerBuilder, is_guid},
};
use countersign_jose::Algorithm::{self, ES256, ES384, ES512, RS256};
use serde_json::Value;
use std::str::FromStr;

pub(crate) const NAMES: &str = "firebase, cognito, auth0, okta, entra, google, github-actions, aws-sts, aws-alb, kubernetes, countersign";

/// A well-known kind of issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Firebase Authentication ID tokens; the id is the project id. Complete.
    Firebase,
    /// Amazon Cognito access tokens; the id is the user pool id. Needs audiences: the app client
    /// ids.
    Cognito,
    /// Auth0; the id is the tenant's (or custom) domain. Needs audiences: the API identifier.
    Auth0,
    /// Okta custom authorization servers; the id is the issuer URL. Needs audiences: `api://…`.
    Okta,
    /// Microsoft Entra v2.0 tokens; the id is the tenant id, or `organizations` or `common` with
    /// tenants listed. Needs audiences: the application (client) id.
    Entra,
    /// Google ID tokens; the id is the OAuth client id. Complete.
    Google,
    /// GitHub Actions; the id is the numeric id of the repositories' owner. Needs audiences.
    GithubActions,
    /// AWS STS `GetWebIdentityToken`; the id is the account's issuer URL. Needs audiences.
    AwsSts,
    /// What an Application Load Balancer sends as `x-amzn-oidc-data`; the id is its ARN. Needs the
    /// issuer ([`TrustedIssuerBuilder::load_balancer_issuer`]) and audiences: the client ids of its
    /// action.
    AwsAlb,
    /// Kubernetes service accounts; the id is the cluster's issuer URL. Needs audiences.
    Kubernetes,
    /// Another Countersign; the id is its issuer URL. Needs audiences.
    Countersign,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 11] = [
        Self::Firebase,
        Self::Cognito,
        Self::Auth0,
        Self::Okta,
        Self::Entra,
        Self::Google,
        Self::GithubActions,
        Self::AwsSts,
        Self::AwsAlb,
        Self::Kubernetes,
        Self::Countersign,
    ];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firebase => "firebase",
            Self::Cognito => "cognito",
            Self::Auth0 => "auth0",
            Self::Okta => "okta",
            Self::Entra => "entra",
            Self::Google => "google",
            Self::GithubActions => "github-actions",
            Self::AwsSts => "aws-sts",
            Self::AwsAlb => "aws-alb",
            Self::Kubernetes => "kubernetes",
            Self::Countersign => "countersign",
        }
    }

    /// The description of this kind of issuer with this id.
    pub fn builder(self, id: &str) -> Result<TrustedIssuerBuilder, TrustError> {
        let built = match self {
            Self::Firebase => firebase(id),
            Self::Cognito => cognito(id),
            Self::Auth0 => auth0(id),
            Self::Okta => okta(id),
            Self::Entra => entra(id),
            Self::Google => google(id),
            Self::GithubActions => github_actions(id),
            Self::AwsSts => discovered(id).map(|b| b.algorithms([RS256, ES384]).require("sub")),
            Self::AwsAlb => aws_alb(id),
            Self::Kubernetes => {
                discovered(id).map(|b| b.algorithms([RS256, ES256, ES384, ES512]).require("sub"))
            }
            Self::Countersign => countersign(id),
        };
        built.ok_or_else(|| TrustError::PresetId {
            preset: self.name(),
            id: without_credentials(id),
            expected: self.expected(),
        })
    }

    /// Adds the regions to which a user pool is replicated: the original form of its issuer there,
    /// with the keys there.
    ///
    /// # Errors
    ///
    /// If the preset is another one, or what is named is no other region.
    pub fn replicas(
        self,
        builder: TrustedIssuerBuilder,
        id: &str,
        regions: &[String],
    ) -> Result<TrustedIssuerBuilder, TrustError> {
        regions.iter().try_fold(builder, |builder, region| {
            let is_other = !id.starts_with(&format!("{region}_"));
            let region =
                word(region, "-").filter(|_| is_other && self == Self::Cognito).ok_or_else(|| {
                    let expected =
                        "a region like us-west-2 to which a user pool is replicated, other than its own";
                    TrustError::PresetId { preset: self.name(), id: without_credentials(region), expected }
                })?;
            let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{id}");
            let keys = KeySource::JwksUrl(format!("{issuer}/.well-known/jwks.json"));
            Ok(builder.also_issues_as(issuer, keys))
        })
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Firebase => "a Firebase project id",
            Self::Cognito => "a user pool id such as eu-west-1_AbCdEf123",
            Self::Auth0 => "a domain such as tenant.eu.auth0.com",
            Self::Okta => "the issuer URL of a custom authorization server (https://…/oauth2/…)",
            Self::Entra => "a tenant id (a GUID in lower case), `organizations` or `common`",
            Self::Google => "an OAuth client id",
            Self::AwsAlb => {
                "the ARN of an Application Load Balancer (arn:aws:elasticloadbalancing:REGION:ACCOUNT:loadbalancer/app/NAME/ID)"
            }
            Self::GithubActions => "the numeric id of a repository owner (names can be taken over)",
            Self::AwsSts | Self::Kubernetes | Self::Countersign => "an https issuer URL",
        }
    }
}

impl FromStr for Preset {
    type Err = TrustError;

    fn from_str(name: &str) -> Result<Self, TrustError> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| TrustError::UnknownPreset(name.to_owned()))
    }
}

/// Firebase documentation, "Verify ID tokens", and firebase-admin-node `token-verifier`: RS256,
/// `aud` is the project, `sub` has 1 to 128 characters, certificates from the Secure Token service.
fn firebase(project: &str) -> Option<TrustedIssuerBuilder> {
    let issuer = TrustedIssuer::builder(format!("https://securetoken.google.com/{}", word(project, "-.:")?));
    Some(
        issuer
            .keys(KeySource::X509Map(
                "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
                    .into(),
            ))
            .algorithms([RS256])
            .audiences([project])
            .max_subject_chars(128),
    )
}

/// Cognito API reference, `IssuerConfigurationType`: a pool has one of two issuers, the updated one
/// with the region of its first copy, and either may be in a token while it is changed. Each has
/// its keys at its own address, and that of the updated one does not exist before a pool has it.
/// Developer guide, "Verifying JSON web tokens": access tokens have `client_id` and no `aud`;
/// `token_use` keeps ID tokens from passing as access tokens (`.token_use("id")` to accept those
/// instead).
fn cognito(pool: &str) -> Option<TrustedIssuerBuilder> {
    let (region, rest) = pool.split_once('_')?;
    let (region, _) = (word(region, "-")?, word(rest, "")?);
    let [issuer, updated] = ["cognito-idp", "issuer-cognito-idp"]
        .map(|host| format!("https://{host}.{region}.amazonaws.com/{pool}"));
    let keys = |issuer: &str| KeySource::JwksUrl(format!("{issuer}/.well-known/jwks.json"));
    let (keys, keys_updated) = (keys(&issuer), keys(&updated));
    let builder = TrustedIssuer::builder(issuer).keys(keys).algorithms([RS256]);
    let builder = builder.also_issues_as(updated, keys_updated);
    Some(builder.audience_fallback(AudienceFallback::ClientId).token_use("access"))
}

/// Auth0 documentation, "Validate JSON Web Tokens": `iss` is the domain with a final slash.
fn auth0(domain: &str) -> Option<TrustedIssuerBuilder> {
    let domain = word(domain, "-.")?;
    let keys = KeySource::JwksUrl(format!("https://{domain}/.well-known/jwks.json"));
    Some(TrustedIssuer::builder(format!("https://{domain}/")).keys(keys).algorithms([RS256]))
}

/// Okta developer documentation, "Validate access tokens": tokens of the org authorization server
/// are Okta's own, only those of custom servers (`/oauth2/{id}`) are to be verified by others.
fn okta(issuer: &str) -> Option<TrustedIssuerBuilder> {
    let (_, server) = issuer.split_once("/oauth2/")?;
    word(server, "-_")?;
    Some(discovered(issuer)?.algorithms([RS256]))
}

/// Microsoft identity platform, "Access tokens" and "Signing key issuer validation": the shared
/// document names `{tenantid}`, `tid` must be a listed tenant and agree with `iss`, and keys carry
/// their own `issuer`. For resource applications whose `requestedAccessTokenVersion` is 2; v1
/// tokens come from another issuer.
fn entra(tenant: &str) -> Option<TrustedIssuerBuilder> {
    const HOST: &str = "https://login.microsoftonline.com";
    let builder = match tenant {
        "organizations" | "common" => TrustedIssuer::builder(format!("{HOST}/{{tenantid}}/v2.0"))
            .keys(KeySource::DiscoveryAt(format!("{HOST}/{tenant}/v2.0/.well-known/openid-configuration"))),
        tenant if is_guid(tenant) => TrustedIssuer::builder(format!("{HOST}/{tenant}/v2.0"))
            .keys(KeySource::Discovery)
            .only_tenant(tenant)
            .require_value("tid", Value::from(tenant)),
        _ => return None,
    };
    Some(builder.algorithms([RS256]))
}

/// Google Identity, "Verify the Google ID token on your server side": `iss` with or without the
/// scheme, `aud` is the client id.
fn google(client: &str) -> Option<TrustedIssuerBuilder> {
    let client = word(client, "-_.")?;
    Some(
        TrustedIssuer::builder("https://accounts.google.com")
            .also_known_as("accounts.google.com")
            .keys(KeySource::Discovery)
            .algorithms([RS256])
            .audiences([client])
            .require("sub"),
    )
}

/// GitHub documentation, "OpenID Connect reference": every repository on GitHub can get a token
/// with any audience, so the owner is part of the trust, by the id that is never given to another.
fn github_actions(owner_id: &str) -> Option<TrustedIssuerBuilder> {
    if owner_id.is_empty() || !owner_id.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let issuer = TrustedIssuer::builder("https://token.actions.githubusercontent.com");
    let issuer = issuer.keys(KeySource::Discovery).algorithms([RS256]);
    Some(issuer.require_value("repository_owner_id", Value::from(owner_id)))
}

/// OpenID Connect discovery at an issuer URL. For `aws-sts` see the STS API reference,
/// `GetWebIdentityToken`; for `kubernetes` "Service account issuer discovery" in its documentation
/// (keys may be given inline where the API server is not reachable without credentials).
fn discovered(issuer: &str) -> Option<TrustedIssuerBuilder> {
    KeyUrl::discovery_of(issuer).ok()?;
    Some(TrustedIssuer::builder(issuer).keys(KeySource::Discovery))
}

/// Every algorithm with a public key that Countersign signs with (`docs/keys.md`): all of them.
fn countersign(issuer: &str) -> Option<TrustedIssuerBuilder> {
    let public = Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric());
    Some(discovered(issuer)?.algorithms(public))
}

/// Elastic Load Balancing, "Authenticate users using an Application Load Balancer", "User claims
/// encoding and signature verification": ES256, `signer` is the ARN, keys as PEM below an address
/// of the region; GovCloud has its own. Of the other partitions none is documented, so their keys
/// need `keys_url`.
fn aws_alb(arn: &str) -> Option<TrustedIssuerBuilder> {
    let parts: Vec<&str> = arn.split(':').collect();
    let [
        "arn",
        partition @ ("aws" | "aws-us-gov" | "aws-cn"),
        "elasticloadbalancing",
        region,
        account,
        resource,
    ] = parts.as_slice()
    else {
        return None;
    };
    word(region, "-")?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let (name, id) = resource.strip_prefix("loadbalancer/app/")?.split_once('/')?;
    word(name, "-")?;
    word(id, "")?;
    let builder = TrustedIssuerBuilder::of_load_balancer(arn).algorithms([ES256]);
    let keys = match *partition {
        "aws" => Some(format!("https://public-keys.auth.elb.{region}.amazonaws.com")),
        "aws-us-gov" => Some(format!("https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}")),
        _ => None,
    };
    let builder = keys.into_iter().fold(builder, |builder, url| builder.keys(KeySource::PemByKid(url)));
    is_account.then_some(builder)
}

/// An id that can be part of a host or a path without changing its shape.
fn word<'a>(text: &'a str, punctuation: &str) -> Option<&'a str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || punctuation.contains(c);
    (!text.is_empty() && text.len() <= 255 && text.chars().all(plain) && !text.contains("..")).then_some(text)
}
