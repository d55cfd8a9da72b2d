//! The command line as it is typed. What it means is decided in `commands`.

mod exchange;
pub(crate) mod help;
mod keys;

pub(crate) use exchange::ExchangeArgs;
pub(crate) use keys::{ExportFormat, GenerateArgs, KeySource, KeysCommand, RotateArgs};

use clap::{
    Args as ClapArgs, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use countersign_issuer::GrantType;
use countersign_jose::Algorithm;
use countersign_settings::duration;
use std::{net::SocketAddr, path::PathBuf};

/// Where the options stand that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Your own JWT authority in one binary.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, about, long_about = None)]
pub(crate) struct Args {
    /// The configuration [default: COUNTERSIGN_CONFIG, else ./countersign/countersign.toml, else
    /// ./countersign.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,

    /// Print one JSON object for scripts instead of text for people
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,

    /// Show on a terminal what is recorded, too
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub(crate) verbose: bool,

    /// Take an http:// issuer that is not on loopback: anyone on the network can then replace your
    /// keys
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) insecure_http_issuer: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the authority; with no configuration yet, make one in ./countersign/ and print how to
    /// get a first token
    Serve(ServeArgs),
    /// Make a configuration with its keys and a first client, without serving
    Init(InitArgs),
    /// Mint a token on this machine and print it
    Sign(SignArgs),
    /// Say whether a token is to be accepted, and why not
    Verify(VerifyArgs),
    /// Show what a token says, verified by nobody: header, claims, times in words
    Decode(DecodeArgs),
    /// Run an authorizer event of API Gateway or AppSync through the gate and print the reply
    Authorize(AuthorizeArgs),
    /// Show every check of a token: what was expected, what was found, what failed
    Explain(VerifyArgs),
    /// List, make, import, rotate, revoke and export signing keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make a store, look through one, or move one to another
    #[command(subcommand)]
    Store(StoreCommand),
    /// Declare who may ask for tokens, list them, renew a secret
    #[command(subcommand)]
    Client(ClientCommand),
    /// Revoke tokens before they expire, and see what is revoked
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Say what each rule of exchange makes of a token; mints nothing
    Exchange(ExchangeArgs),
    /// Write the public documents into a folder or a bucket: an issuer without a server
    Publish(PublishArgs),
    /// Check or describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DecodeArgs {
    /// The token, @FILE, or - for standard input. `Bearer `, quotes and the JSON around it are
    /// taken off
    #[arg(value_name = "TOKEN|@FILE|-")]
    pub(crate) token: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    /// The address to listen on, like 127.0.0.1:8080 [default: the configuration's server.listen]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InitArgs {
    /// The issuer URL, as it will stand in `iss` [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// The algorithm of the first key [default: RS256, or that of --key]
    #[arg(long, value_name = "A", value_parser = algorithm())]
    pub(crate) algorithm: Option<Algorithm>,
    /// Sign with this private key instead of a new one: PEM or JWK, in a file or - for standard
    /// input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) key: Option<String>,
    /// The kid of that key [default: the JWK's own, else the RFC 7638 thumbprint]
    #[arg(long, allow_hyphen_values = true, requires = "key")]
    pub(crate) kid: Option<String>,
    /// Declare no client; `countersign client new` makes one
    #[arg(long)]
    pub(crate) no_client: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SignArgs {
    /// The claims: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) claims: String,
    /// The audience; may be given more than once [default: the first audience of the first client]
    #[arg(long, value_name = "A")]
    pub(crate) audience: Vec<String>,
    /// How long the token lives, like 15m or 1h
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) lifetime: Option<std::time::Duration>,
    /// The shape of the token: jwt, jaas, or another profile of the configuration [default: jwt]
    #[arg(long, value_name = "P", value_hint = clap::ValueHint::Other)]
    pub(crate) profile: Option<String>,
    /// What is to be uploaded, with profile upload, like
    /// '{"to":"photos","content_type":"image/png"}'
    #[arg(long, value_name = "JSON")]
    pub(crate) upload: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// The token, @FILE, or - for standard input. `Bearer `, quotes and the JSON around it are
    /// taken off
    #[arg(value_name = "TOKEN|@FILE|-")]
    pub(crate) token: String,
    /// The keys to verify with: JWKS, JWK, PEM, certificate or a map of certificates, in a file or
    /// at a URL
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) jwks: Option<String>,
    /// The issuer the token must be from; its keys are found by discovery unless --jwks is given
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// The load balancer of AWS whose `x-amzn-oidc-data` the token is, by its ARN; --audience is
    /// then the client id
    #[arg(long, value_name = "ARN", requires = "issuer", conflicts_with_all = ["secret", "algorithm"])]
    pub(crate) alb: Option<String>,
    /// An audience the token must be for; may be given more than once, one must match
    #[arg(long, value_name = "A")]
    pub(crate) audience: Vec<String>,
    /// The algorithm of keys that name none (PEM files, some JWKs) [default: RS256, the curve's
    /// own, or EdDSA]
    #[arg(long, value_name = "A", value_parser = algorithm())]
    pub(crate) algorithm: Option<Algorithm>,
    /// Verify with a shared secret, as text or JWK (HS256, or --algorithm): env:NAME or file:PATH
    #[arg(long, value_name = "env:NAME|file:PATH", conflicts_with = "jwks")]
    pub(crate) secret: Option<String>,
    /// How far the clocks of issuer and verifier may differ, 10m at most
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "0s")]
    pub(crate) leeway: std::time::Duration,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AuthorizeArgs {
    /// The event as Lambda gets it: a JSON file, or - for standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) event: String,
    /// Also show every check: on standard error, or with --json beside the reply
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make a store that is not there yet; a DynamoDB table is made here and nowhere else
    Create {
        /// The store: its URL, env:NAME or file:PATH [default: the configuration's store.url]
        url: Option<String>,
    },
    /// Read every document and open every key; exit code 1 when something is damaged or there is no
    /// keyring
    Check {
        /// The store: its URL, env:NAME or file:PATH [default: the configuration's store.url]
        url: Option<String>,
        /// Take a store without a keyring for good
        #[arg(long)]
        empty_ok: bool,
    },
    /// Copy every document to an empty store; run again, it finishes what was interrupted
    Copy {
        /// The store to read: its URL, env:NAME or file:PATH
        from: String,
        /// The store to fill, in the same forms; made if it is not there yet, except for a DynamoDB
        /// table
        to: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Make a client: prints its secret once, and the configuration to paste
    New(Box<NewClientArgs>),
    /// Show every client: how it proves who it is, and what it may have
    List,
    /// Renew a client's secret: prints a new one once, and the line that takes both for a while
    Secret {
        /// The client's id
        id: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NewClientArgs {
    /// The client's id
    #[arg(default_value = "app")]
    pub(crate) id: countersign_issuer::ClientId,
    /// An audience its tokens may have; may be given more than once
    #[arg(long, value_name = "A")]
    pub(crate) audience: Vec<String>,
    /// The longest lifetime of its tokens, like 15m or 24h
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "1h")]
    pub(crate) lifetime: std::time::Duration,
    /// A profile it may use, like jwt or jaas; may be given more than once [default: jwt, or
    /// access_token with a grant]
    #[arg(long, value_name = "P")]
    pub(crate) profile: Vec<String>,
    /// A claim it may set at /sign; may be given more than once [default: sub]
    #[arg(long, value_name = "NAME", conflicts_with = "grant", help_heading = CLAIMS)]
    pub(crate) claim: Vec<String>,
    /// A claim it may not set, whatever else it may; may be given more than once
    #[arg(long, value_name = "NAME", help_heading = CLAIMS)]
    pub(crate) deny_claim: Vec<String>,
    /// A claim that is always so, as tenant=acme or level=5; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", help_heading = CLAIMS)]
    pub(crate) fixed_claim: Vec<String>,
    /// The JSON Schema that its claims have to fit: a file beside the configuration
    #[arg(long, value_name = "FILE", help_heading = CLAIMS)]
    pub(crate) schema: Option<String>,
    /// A kind of upload ([uploads.NAME]) that it may let somebody do, * for any; may be given more
    /// than once
    #[arg(long, value_name = "NAME", help_heading = UPLOADS)]
    pub(crate) upload: Vec<String>,
    /// It may make moderators of JaaS meetings
    #[arg(long, help_heading = JAAS)]
    pub(crate) jaas_moderator: bool,
    /// It may ask for tokens that open every JaaS room
    #[arg(long, help_heading = JAAS)]
    pub(crate) jaas_any_room: bool,
    /// A JaaS room it may open, * for any part of a name; may be given more than once
    #[arg(long, value_name = "PATTERN", help_heading = JAAS)]
    pub(crate) jaas_room: Vec<String>,
    /// A pattern of 8x8's own that it may ask for as a room, word for word, * for any; may be given
    /// more than once
    #[arg(long, value_name = "REGEX", help_heading = JAAS)]
    pub(crate) jaas_regex: Vec<String>,
    /// What it may say of a JaaS user, like name or email, * for all; may be given more than once
    #[arg(long, value_name = "MEMBER", help_heading = JAAS)]
    pub(crate) jaas_user: Vec<String>,
    /// A JaaS feature it may grant to moderators, like recording, * for all; may be given more than
    /// once
    #[arg(long, value_name = "NAME", help_heading = JAAS)]
    pub(crate) jaas_feature: Vec<String>,
    /// It may make moderators of meetings
    #[arg(long, help_heading = JITSI)]
    pub(crate) jitsi_moderator: bool,
    /// It may ask for tokens that open every room
    #[arg(long, help_heading = JITSI)]
    pub(crate) jitsi_any_room: bool,
    /// A room it may open, in lower case, * for any part of a name; may be given more than once
    #[arg(long, value_name = "PATTERN", help_heading = JITSI)]
    pub(crate) jitsi_room: Vec<String>,
    /// What it may say of a user, like name or email, * for all; may be given more than once
    #[arg(long, value_name = "MEMBER", help_heading = JITSI)]
    pub(crate) jitsi_user: Vec<String>,
    /// A feature it may grant, like recording, * for all; may be given more than once
    #[arg(long, value_name = "NAME", help_heading = JITSI)]
    pub(crate) jitsi_feature: Vec<String>,
    /// A grant it may use at /token, instead of /sign; may be given more than once
    #[arg(long, value_name = "GRANT", value_parser = grant(), help_heading = TOKEN)]
    pub(crate) grant: Vec<GrantType>,
    /// A scope it may have; may be given more than once
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Vec<String>,
    /// A scope of its access tokens when it asks for none; may be given more than once
    #[arg(long, value_name = "SCOPE", requires = "grant", help_heading = TOKEN)]
    pub(crate) default_scope: Vec<String>,
    /// An audience of tokens that it may ask about at /introspect, * for any; may be given more
    /// than once
    #[arg(long, value_name = "A", help_heading = TOKEN)]
    pub(crate) introspect: Vec<String>,
    /// It gets no token at /token without a DPoP proof
    #[arg(long, requires = "grant", help_heading = TOKEN)]
    pub(crate) dpop: bool,
    /// How it authenticates at /token: secret, private_key_jwt (it signs), workload (its platform
    /// says so), none (public)
    #[arg(long, value_name = "METHOD", default_value = "secret", requires = "grant", hide_possible_values = true, help_heading = TOKEN)]
    pub(crate) auth: ClientAuth,
    /// Where its JWK Set is, with --auth private_key_jwt: a file or a URL [default: ID.jwks.json]
    #[arg(long, value_name = "FILE|URL", requires = "grant", help_heading = TOKEN)]
    pub(crate) jwks: Option<String>,
    /// The file of its one public key in PEM, with --auth private_key_jwt, in place of a JWK Set
    #[arg(long, value_name = "FILE", requires = "assertion_algorithm", conflicts_with = "jwks", help_heading = TOKEN)]
    pub(crate) pem: Option<String>,
    /// An algorithm it signs assertions with; may be given more than once, but for --pem [default:
    /// RS256, PS256, ES256, EdDSA, Ed25519]
    #[arg(long, value_name = "A", requires = "grant", value_parser = algorithm(), help_heading = TOKEN)]
    pub(crate) assertion_algorithm: Vec<Algorithm>,
    /// Its platform, with --auth workload: github-actions, kubernetes, aws-sts, countersign, or the
    /// URL of an issuer
    #[arg(long, value_name = "PRESET|ISSUER", requires = "grant", help_heading = TOKEN)]
    pub(crate) workload: Option<String>,
    /// What the preset is made from: for github-actions the numeric id of the repository's owner,
    /// else the issuer's URL
    #[arg(long, value_name = "ID", requires = "workload", help_heading = TOKEN)]
    pub(crate) workload_id: Option<String>,
    /// A claim of its tokens and its value, as repository_id=456; may be given more than once
    #[arg(long = "match", value_name = "CLAIM=VALUE", requires = "workload", help_heading = TOKEN)]
    pub(crate) matches: Vec<String>,
    /// Whether each token of the platform is taken once [default: if it has a `jti`, and not with
    /// kubernetes]
    #[arg(long, value_name = "true|false", requires = "workload", help_heading = TOKEN)]
    pub(crate) workload_once: Option<bool>,
    /// Whose tokens it may exchange, with a grant by a rule [default: `https://login.example`, to
    /// be replaced]
    #[arg(long, value_name = "ISSUER", requires = "grant", help_heading = TOKEN)]
    pub(crate) trust: Option<String>,
    /// What stands in front of the subjects of those tokens [default: login]
    #[arg(long, value_name = "NAME", requires = "grant", help_heading = TOKEN)]
    pub(crate) provider: Option<String>,
}

/// How a client authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClientAuth {
    /// With a secret, in the header or in the body
    Secret,
    /// With an assertion that it signs
    #[value(name = "private_key_jwt")]
    PrivateKeyJwt,
    /// With a token that its platform gives it
    Workload,
    /// Not at all: a public client, for grants by rules and refresh_token
    None,
}

/// The groups of options of `client new`.
const CLAIMS: &str = "Claims of its tokens";
const JAAS: &str = "JaaS meetings (--profile jaas)";
const JITSI: &str = "Meetings of a Jitsi of your own (--profile jitsi)";
const UPLOADS: &str = "Uploads (--profile upload)";
const TOKEN: &str = "Access tokens (POST /token)";

/// A grant by its name; help and completions list them.
fn grant() -> impl TypedValueParser<Value = GrantType> {
    let named = |name: String| GrantType::named(&name).ok_or("there is no such grant");
    PossibleValuesParser::new(GrantType::ALL.map(GrantType::name)).try_map(named)
}

/// An algorithm by its name; help and completions list them.
fn algorithm() -> impl TypedValueParser<Value = Algorithm> {
    PossibleValuesParser::new(Algorithm::ALL.map(Algorithm::name))
        .try_map(|name: String| name.parse::<Algorithm>())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    crate::address::parse(text)
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Revoke all tokens of a subject or client up to now, or one token or family by its name
    Revoke(RevokeArgs),
    /// List what is revoked
    Revoked,
}

#[derive(Debug, ClapArgs)]
#[command(
    group = clap::ArgGroup::new("what").required(true),
    override_usage = "countersign tokens revoke [OPTIONS] --subject <SUB>\n       \
        countersign tokens revoke [OPTIONS] --client <ID>\n       \
        countersign tokens revoke [OPTIONS] --jti <JTI>\n       \
        countersign tokens revoke [OPTIONS] --family <NAME>"
)]
pub(crate) struct RevokeArgs {
    /// All tokens with this `sub`, and refresh tokens for it
    #[arg(long, value_name = "SUB", group = "what")]
    pub(crate) subject: Option<String>,
    /// All tokens of this client, and its refresh tokens
    #[arg(long, value_name = "ID", group = "what")]
    pub(crate) client: Option<String>,
    /// The token with this `jti`
    #[arg(long, value_name = "JTI", group = "what")]
    pub(crate) jti: Option<String>,
    /// A family of refresh tokens and its access tokens: what their `jti` begins with, up to the
    /// full stop
    #[arg(long, value_name = "NAME", group = "what")]
    pub(crate) family: Option<String>,
    /// Revoke what is issued until so long after now too, like 0s; the clocks of servers differ
    /// [default: rotation.skew]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, conflicts_with_all = ["jti", "family"])]
    pub(crate) after_now: Option<std::time::Duration>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PublishArgs {
    /// What is served at the issuer's URL: a folder, made if it is not there, or a bucket of Amazon
    /// S3
    #[arg(value_name = "DIR|s3://BUCKET/PREFIX", required_unless_present = "check")]
    pub(crate) target: Option<PathBuf>,
    /// Write nothing; compare what the issuer's URL serves with what it should
    #[arg(long, conflicts_with = "target")]
    pub(crate) check: bool,
    /// Also where keys are published and the keyring has none to publish, or is older than what is
    /// published
    #[arg(long, requires = "target")]
    pub(crate) replace_newer_keys: bool,
    /// The CloudFront distribution in front of the bucket: what has changed is taken out of its
    /// caches
    #[arg(long, value_name = "DISTRIBUTION", requires = "target")]
    pub(crate) cloudfront: Option<String>,
    /// Wait until CloudFront says that it is done, 10 minutes at most
    #[arg(long, requires = "cloudfront")]
    pub(crate) wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration as `serve` does before it opens the store, and print what it comes
    /// to, secrets redacted
    Check {
        /// Open the store too, and every key in it; nothing is made or changed
        #[arg(long)]
        online: bool,
    },
    /// Print what to write into the configuration of a Jitsi's Prosody, so that it takes tokens of
    /// profile jitsi; no secret is in it
    Prosody {
        /// Let Prosody fetch each key by its name (`asap_key_server`) and not all of them
        /// (`cache_keys_url`), which older ones do not know
        #[arg(long)]
        asap: bool,
        /// The component of the rooms [default: conference. and the domain]
        #[arg(long, value_name = "HOST")]
        muc: Option<String>,
    },
    /// Print the JSON Schema of the configuration file
    Schema {
        /// Print the reference page instead (docs/configuration.md)
        #[arg(long)]
        markdown: bool,
    },
}
