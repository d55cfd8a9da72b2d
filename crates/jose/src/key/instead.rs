//! What a text is that has no key in it: for the one message that says so.
//!
//! People paste what they have: a certificate, an OpenSSH key, a PEM that a `.env` file cut after
//! its first line. Each is another mistake with another way out, so each has its own words. Nothing
//! of the text is repeated. Called where no key was found, and never before.

/// What there is where a key was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Instead {
    /// Nothing.
    #[error("it is empty")]
    Nothing,
    /// A certificate, which holds a public key.
    #[error(
        "it is a certificate, which has only a public key in it; a private key begins with -----BEGIN PRIVATE KEY-----; find the \
         file that has it: grep -rl \"PRIVATE KEY-\" FOLDER"
    )]
    Certificate,
    /// Certificates in PKCS#7 (`.p7b`).
    #[error(
        "it is PKCS#7, which has only certificates in it; to see them: openssl pkcs7 -print_certs -in FILE; the private key is in \
         another file"
    )]
    Pkcs7,
    /// A request for a certificate.
    #[error("it is a certificate request (CSR); the key that made it is in another file")]
    CertificateRequest,
    /// OpenSSH's own form of private keys.
    #[error(
        "it is an OpenSSH key; of an RSA or EC key make a copy and rewrite that one: ssh-keygen -p -m PEM -f COPY; an Ed25519 key stays \
         in this form, so make a new one: openssl genpkey -algorithm ED25519 -out key.pem"
    )]
    OpenSsh,
    /// A line of `id_rsa.pub`.
    #[error(
        "it is an OpenSSH public key; rewrite it with: ssh-keygen -e -m PKCS8 -f FILE; the private key is in the file without .pub"
    )]
    OpenSshPublic,
    /// A PGP block.
    #[error("it is a PGP block, and JWTs are not signed with PGP keys")]
    Pgp,
    /// `EC PARAMETERS` and no key.
    #[error("it has only EC PARAMETERS; the key itself (-----BEGIN EC PRIVATE KEY-----) is missing")]
    Parameters,
    /// A first line and no last one.
    #[error(
        "its -----END line is missing: it was cut off. A .env file and some dashboards keep only the first line; write it in one \
         line with \\n for line ends, or as base64"
    )]
    CutOff,
    /// A last line and no first one.
    #[error("its -----BEGIN line is missing; paste the whole file")]
    NoBegin,
    /// Dashes that are not five hyphens.
    #[error(
        "its -----BEGIN or -----END line does not have five hyphens (-) on either side, as an editor may have changed them"
    )]
    Dashes,
    /// A PEM frame around something that is not base64.
    #[error(
        "what stands between its BEGIN and END lines is not base64, or the two lines name different things"
    )]
    Body,
    /// A whole block of PEM whose label is not a known one.
    #[error(
        "it is PEM of something else than a key: its BEGIN line names neither PRIVATE KEY nor PUBLIC KEY"
    )]
    Other,
    /// Base64 without a frame.
    #[error(
        "it is base64 without the -----BEGIN and -----END lines; paste the whole file, or put them around it (for an element of x5c: CERTIFICATE)"
    )]
    Bare,
    /// JSON.
    #[error("it is JSON and not PEM")]
    Json,
    /// A web page.
    #[error("it is a web page (HTML)")]
    Html,
    /// A compact JWS.
    #[error("it is a token and not a key")]
    Token,
    /// The name of a file, most likely.
    #[error(
        "it looks like the name of a file; give what is in the file, or file:PATH where a reference is taken"
    )]
    Path,
    /// Something else.
    #[error(
        "expected PEM with PRIVATE KEY, RSA PRIVATE KEY, EC PRIVATE KEY, PUBLIC KEY or RSA PUBLIC KEY, or that as base64; a shared secret has settings of its own (--secret, hmac_secret)"
    )]
    Unknown,
}

impl Instead {
    /// What `text` is, which has no key in it.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let has = |label: &str| text.contains(&format!("-----BEGIN {label}"));
        if text.is_empty() {
            return Self::Nothing;
        }
        for (is_so, instead) in [
            (text.contains("-----BEGIN ") && !text.contains("-----END "), Self::CutOff),
            (has("CERTIFICATE REQUEST-") || has("NEW CERTIFICATE REQUEST-"), Self::CertificateRequest),
            (
                has("CERTIFICATE-") || has("TRUSTED CERTIFICATE-") || has("X509 CERTIFICATE-"),
                Self::Certificate,
            ),
            (has("PKCS7-") || has("PKCS #7 ") || has("CMS-"), Self::Pkcs7),
            (has("OPENSSH PRIVATE KEY-"), Self::OpenSsh),
            (
                has("SSH2 PUBLIC KEY-") || text.starts_with("ssh-") || text.starts_with("ecdsa-sha2-"),
                Self::OpenSshPublic,
            ),
            (has("PGP "), Self::Pgp),
            (has("EC PARAMETERS-") && !has("EC PRIVATE"), Self::Parameters),
            (pem::parse_many(text).is_ok_and(|blocks| !blocks.is_empty()), Self::Other),
            (text.contains("-----BEGIN "), Self::Body),
            (text.contains("-----END "), Self::NoBegin),
            (text.contains("BEGIN ") && text.contains("END "), Self::Dashes),
            (text.contains("-BEGIN ") || text.contains("\u{2014}BEGIN "), Self::Dashes),
            (text.starts_with(['{', '[']), Self::Json),
            (text.starts_with('<'), Self::Html),
            (text.starts_with("eyJ") && text.matches('.').count() == 2, Self::Token),
            (looks_like_a_path(text), Self::Path),
            (is_base64(text), Self::Bare),
        ] {
            if is_so {
                return instead;
            }
        }
        Self::Unknown
    }
}

fn looks_like_a_path(text: &str) -> bool {
    let ends = [".pem", ".key", ".der", ".p8", ".pub", ".crt", ".cer", ".p12", ".pfx", ".json", ".jwk"];
    let one_line = text.len() < 512 && !text.contains('\n');
    let begins = ["./", "../", "~/", "/"].iter().any(|start| text.starts_with(start)) && text.len() < 200;
    one_line && (begins || ends.iter().any(|end| text.ends_with(end)))
}

fn is_base64(text: &str) -> bool {
    let inner = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '=') || c.is_ascii_whitespace()
    };
    text.len() >= 40 && text.chars().all(inner)
}
