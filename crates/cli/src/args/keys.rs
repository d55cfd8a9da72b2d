//! `countersign keys …`: what is done to keys by hand, and where private keys come from.

use super::algorithm;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use countersign_jose::Algorithm;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Show every key: ring, state, algorithm, age, and what happens next and when
    List,
    /// Make the first keys of a new authority: its keyring, and the store and the sealing key file
    /// where they are missing
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
    /// Make the next key of a ring; verifiers learn it later, or where a ring is not published, are
    /// given it now
    Prepare {
        /// The ring
        #[arg(long, default_value = "default")]
        ring: countersign_keyring::RingName,
        /// Print the secret of a ring of HS256, HS384 or HS512: this once, and never again
        #[arg(long)]
        show_secret: bool,
    },
    /// Show a prepared key to verifiers (the documents are written by `countersign publish`)
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
        /// Take an import back, whatever state the key is in: no token of it is in use
        #[arg(long)]
        signed_nothing: bool,
    },
    /// Take over a keyring of an older format: shows what is in it, and with the digest it shows
    /// takes over exactly that
    Adopt {
        /// The digest that was shown
        #[arg(long, value_name = "SHA256")]
        digest: Option<String>,
    },
    /// Look at the JWKS as the world sees it and take the rotation steps that are due; for a
    /// scheduler, also publish and check
    Rotate(RotateArgs),
    /// Print public keys
    Export {
        /// Public keys, which is what it does anyway; private keys are never exported
        #[arg(long)]
        public: bool,
        /// The form: jwks, pem, or x509 (a map of certificates by kid, of RSA and EC keys)
        #[arg(long, value_enum, default_value_t = ExportFormat::Jwks, hide_possible_values = true)]
        format: ExportFormat,
        /// Only this ring
        #[arg(long)]
        ring: Option<countersign_keyring::RingName>,
    },
    /// Seal every private key again that is not under sealing.key; servers that have both keys go
    /// on meanwhile
    Reseal {
        /// Make a new data key first, where sealing.key is one of KMS
        #[arg(long)]
        new_data_key: bool,
    },
    /// Make a key for 8x8 JaaS: prints the public half to upload there, and the steps until it
    /// signs
    Generate(GenerateArgs),
    #[command(override_usage = "countersign keys import [OPTIONS] <FILE|->\n       \
        countersign keys import [OPTIONS] --env <NAME>\n       \
        countersign keys import [OPTIONS] --kms <KEY>\n       \
        countersign keys import [OPTIONS] --mongodb <REF> --collection <NAME>")]
    /// Bring in private keys: PEM (PKCS#8, PKCS#1, SEC1), JWK, JWKS, documents of a MongoDB
    /// collection, or a key that stays in KMS
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
        #[arg(long, value_name = "A", value_parser = algorithm())]
        algorithm: Option<Algorithm>,
        /// Sign with it at once; the key that was active stays published
        #[arg(long)]
        activate: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RotateArgs {
    /// One turn, which is what it does anyway; a running server takes turns by itself
    #[arg(long)]
    pub(crate) once: bool,
    /// Then write the public documents there, as `countersign publish` does, whatever became of the
    /// turn
    #[arg(long, value_name = "DIR|s3://BUCKET/PREFIX")]
    pub(crate) publish: Option<PathBuf>,
    /// The CloudFront distribution in front of the bucket: what has changed is taken out of its
    /// caches
    #[arg(long, value_name = "DISTRIBUTION", requires = "publish")]
    pub(crate) cloudfront: Option<String>,
    /// Wait until CloudFront says that it is done, 10 minutes at most
    #[arg(long, requires = "cloudfront")]
    pub(crate) wait: bool,
    /// Last compare what the issuer's URL serves with what it should, as
    /// `countersign publish --check` does
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GenerateArgs {
    /// Say that the key is for 8x8 JaaS; the keys of other rings are made with `prepare`
    #[arg(long, required = true)]
    pub(crate) jaas: bool,
    /// The file for the private key until it is imported; must not be there yet
    #[arg(long, value_name = "FILE", default_value = "jaas-key.pem")]
    pub(crate) out: PathBuf,
    /// The size of the key in bits: 2048, 3072 or 4096
    #[arg(long, value_name = "BITS", default_value_t = 4096, value_parser = rsa_bits)]
    pub(crate) rsa_bits: u32,
}

fn rsa_bits(text: &str) -> Result<u32, String> {
    let known = [2048, 3072, 4096];
    text.parse().ok().filter(|bits| known.contains(bits)).ok_or("there is 2048, 3072 and 4096".to_owned())
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
