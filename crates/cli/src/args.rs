//! The command line as it is typed. What it means is decided in `commands`.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use countersign_settings::duration;
use std::{net::SocketAddr, path::PathBuf};

/// Your own JWT authority in one binary.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, about, long_about = None, propagate_version = true)]
pub(crate) struct Args {
    /// The configuration file [default: ./countersign/countersign.toml, or COUNTERSIGN_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print JSON for scripts instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Take an http:// issuer that is not on loopback: anyone on the network can then replace your keys
    #[arg(long, global = true)]
    pub(crate) insecure_http_issuer: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the authority; with no configuration yet, make one in ./countersign/ and print how to get a first token
    Serve(ServeArgs),
    /// Make that configuration without serving
    Init(InitArgs),
    /// Mint a token on this machine and print it
    Sign(SignArgs),
    /// Say whether a token is to be accepted, and why not
    Verify(VerifyArgs),
    /// Run an authorizer event of API Gateway or AppSync through the gate and print the reply
    Authorize(AuthorizeArgs),
    /// Show every check of a token: what was expected, what was found, what failed
    Explain(VerifyArgs),
    /// Look at signing keys, export public ones, import private ones
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make a store, look through one, or move one to another
    #[command(subcommand)]
    Store(StoreCommand),
    /// Declare who may ask for tokens
    #[command(subcommand)]
    Client(ClientCommand),
    /// Write the public documents into a folder or a bucket: an issuer without a server
    Publish(PublishArgs),
    /// Check or describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    /// The address to listen on [default: the configuration's server.listen, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InitArgs {
    /// The issuer URL, as it will stand in `iss` [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// The algorithm of the first key
    #[arg(long, value_name = "A", default_value = "RS256")]
    pub(crate) algorithm: countersign_jose::Algorithm,
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
    /// The shape of the token
    #[arg(long, value_name = "P")]
    pub(crate) profile: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// The token, or - for standard input
    #[arg(value_name = "TOKEN|-")]
    pub(crate) token: String,
    /// The keys to verify with: a JWKS, JWK or PEM file, or the URL of a JWKS or of a map of certificates
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) jwks: Option<String>,
    /// The issuer the token must be from; its keys are found by discovery unless --jwks is given
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// An audience the token must be for; may be given more than once, one must match
    #[arg(long, value_name = "A")]
    pub(crate) audience: Vec<String>,
    /// The algorithm of keys that name none (PEM files, some JWKs) [default: RS256, the curve's own, or EdDSA]
    #[arg(long, value_name = "A")]
    pub(crate) algorithm: Option<countersign_jose::Algorithm>,
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
pub(crate) enum KeysCommand {
    /// Show every key: ring, state, algorithm, age, and what happens next and when
    List,
    /// Make the first keys of a new authority: its keyring, and the store and the sealing key file where they are missing
    Init,
    /// Accept that keys are lost which running servers still know; they say what to give here
    AcceptLoss {
        /// The keys that are lost; none if only an older keyring is to be taken for the newest
        #[arg(allow_hyphen_values = true, value_name = "KID")]
        kids: Vec<String>,
        /// The highest sequence number that the servers have seen
        #[arg(long, value_name = "N")]
        sequence: u64,
    },
    /// Set times that lie in the future to now; only on a machine whose clock is right
    CorrectTimes,
    /// Make the next key of a ring, shown to nobody yet
    Prepare {
        /// The ring
        #[arg(long, default_value = "default")]
        ring: countersign_keyring::RingName,
    },
    /// Show a prepared key to verifiers
    Publish {
        /// The key; its name may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Sign with a key from now on; refused as long as some verifier may not know it
    Activate {
        /// The key; its name may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Even if some verifiers will refuse its tokens for a while
        #[arg(long)]
        force: bool,
    },
    /// Give up a published key that never signed; it leaves the JWKS when retired keys do
    Retire {
        /// The key; its name may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Take a key out of the JWKS at once, forever; if it signed, the next one signs from now on
    Revoke {
        /// The key; its name may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Forget a key that never signed, or whose tokens have all expired
    Remove {
        /// The key; its name may begin with a hyphen
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Take over a keyring of an older format: shows what is in it, and with the digest it shows takes over exactly that
    Adopt {
        /// The digest that was shown
        #[arg(long, value_name = "SHA256")]
        digest: Option<String>,
    },
    /// Look at the JWKS as the world sees it and take the rotation steps that are due
    Rotate {
        /// Say that one turn is meant; a running server takes turns by itself
        #[arg(long, required = true)]
        once: bool,
    },
    /// Print public keys
    Export {
        /// Say that public keys are meant; private keys are never exported
        #[arg(long, required = true)]
        public: bool,
        /// The form
        #[arg(long, value_enum, default_value_t = ExportFormat::Jwks)]
        format: ExportFormat,
        /// Only this ring
        #[arg(long)]
        ring: Option<countersign_keyring::RingName>,
    },
    /// Seal every private key again that is not under sealing.key; servers that have both keys go on meanwhile
    Reseal {
        /// Make a new data key first, where sealing.key is one of KMS
        #[arg(long)]
        new_data_key: bool,
    },
    /// Bring in private keys: PEM (PKCS#8, PKCS#1, SEC1), JWK, JWKS, documents of a MongoDB collection, or a key that stays in KMS
    Import {
        #[command(flatten)]
        from: KeySource,
        /// The ring it joins
        #[arg(long, default_value = "default")]
        ring: countersign_keyring::RingName,
        /// Its kid [default: the JWK's own, else the RFC 7638 thumbprint]
        #[arg(long, allow_hyphen_values = true)]
        kid: Option<String>,
        /// Its algorithm [default: the JWK's own, else the ring's]
        #[arg(long, value_name = "A")]
        algorithm: Option<countersign_jose::Algorithm>,
        /// Sign with it at once; the key that was active stays published
        #[arg(long)]
        activate: bool,
    },
}

/// Where private keys come from.
#[derive(Debug, ClapArgs)]
pub(crate) struct KeySource {
    /// The file, or - for standard input
    #[arg(value_name = "FILE|-", required_unless_present_any = ["env", "kms", "mongodb"], conflicts_with_all = ["env", "kms", "mongodb"])]
    pub(crate) file: Option<String>,
    /// Read the key from this environment variable instead; `\n` in it stands for a line end
    #[arg(long, value_name = "NAME", conflicts_with_all = ["kms", "mongodb"])]
    pub(crate) env: Option<String>,
    /// Sign with this key of AWS KMS, which stays there: its ARN, id or alias/NAME
    #[arg(long, value_name = "KEY", conflicts_with = "mongodb")]
    pub(crate) kms: Option<String>,
    /// Read the keys from a MongoDB database instead, whose URL is there; nothing is written
    #[arg(long, value_name = "env:NAME|file:PATH", requires = "collection")]
    pub(crate) mongodb: Option<String>,
    /// The collection that has the keys, one in each document
    #[arg(long, value_name = "NAME", requires = "mongodb")]
    pub(crate) collection: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Jwks,
    Pem,
    /// A map of certificates by kid, of RSA and EC keys
    X509,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make a store that is not there yet; a DynamoDB table is made here and nowhere else
    Create {
        /// The store: its URL, env:NAME or file:PATH [default: the configuration's store.url]
        url: Option<String>,
    },
    /// Read every document and open every key; exit code 1 when something is damaged or there is no keyring
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
        /// The store to fill, in the same forms; made if it is not there yet, except for a DynamoDB table
        to: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Make a client secret: prints it once, with the configuration to paste
    New(NewClientArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NewClientArgs {
    /// The client's id
    #[arg(default_value = "app")]
    pub(crate) id: countersign_issuer::ClientId,
    /// An audience its tokens may have; may be given more than once
    #[arg(long, value_name = "A")]
    pub(crate) audience: Vec<String>,
    /// A claim it may set at /sign; may be given more than once
    #[arg(long, value_name = "NAME", conflicts_with = "grant")]
    pub(crate) claim: Vec<String>,
    /// A grant it may use at /token, instead of /sign; may be given more than once
    #[arg(long, value_name = "GRANT", value_parser = grant)]
    pub(crate) grant: Vec<countersign_issuer::GrantType>,
    /// A scope it may ask for at /token; may be given more than once
    #[arg(long, value_name = "SCOPE", requires = "grant")]
    pub(crate) scope: Vec<String>,
    /// How it authenticates at /token
    #[arg(long, value_name = "METHOD", default_value = "secret", requires = "grant")]
    pub(crate) auth: ClientAuth,
    /// Where its JWK Set is, with --auth private_key_jwt: a file or a URL [default: ID.jwks.json]
    #[arg(long, value_name = "FILE|URL", requires = "grant")]
    pub(crate) jwks: Option<String>,
}

/// How a client authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClientAuth {
    /// With a secret, in the header or in the body
    Secret,
    /// With an assertion that it signs
    #[value(name = "private_key_jwt")]
    PrivateKeyJwt,
}

fn grant(name: &str) -> Result<countersign_issuer::GrantType, String> {
    let known = countersign_issuer::GrantType::ALL.map(countersign_issuer::GrantType::name).join(", ");
    countersign_issuer::GrantType::named(name).ok_or(format!("there is {known}"))
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PublishArgs {
    /// What is served at the issuer's URL: a folder, made if it is not there, or a bucket of Amazon S3
    #[arg(value_name = "DIR|s3://BUCKET/PREFIX", required_unless_present = "check")]
    pub(crate) target: Option<PathBuf>,
    /// Write nothing; compare what the issuer's URL serves with what it should
    #[arg(long, conflicts_with = "target")]
    pub(crate) check: bool,
    /// Also where keys are published and the keyring has none to publish, or is older than what is published
    #[arg(long, requires = "target")]
    pub(crate) replace_newer_keys: bool,
    /// The CloudFront distribution in front of the bucket: what has changed is taken out of its caches
    #[arg(long, value_name = "DISTRIBUTION", requires = "target")]
    pub(crate) cloudfront: Option<String>,
    /// Wait until CloudFront says that it is done, 10 minutes at most
    #[arg(long, requires = "cloudfront")]
    pub(crate) wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration as `serve` does before it opens the store, and print what it comes to, secrets redacted
    Check {
        /// Open the store too, and every key in it; nothing is made or changed
        #[arg(long)]
        online: bool,
    },
    /// Print the JSON Schema of the configuration file
    Schema {
        /// Print the reference page instead (docs/configuration.md)
        #[arg(long)]
        markdown: bool,
    },
}
