//! How one issuer's keys are asked for where the address alone is not enough: authorities of its
//! own that vouch for the server, and a bearer token that it wants to see. The API server of a
//! Kubernetes cluster needs both.
//!
//! Both are read again for each request, because such files are renewed. The token is sent to the
//! one address of the configuration and to no other, and occurs in no error. The authorities stand
//! in place of the system's, so that nobody else can vouch for the server. Pinned by
//! `tests/suite/key_server.rs`.

use rustls::{RootCertStore, pki_types::CertificateDer};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// The longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// The longest text with certificates, and the most certificates in it.
const MAX_AUTHORITIES: (usize, usize) = (64 * 1024, 32);

/// A text that is read again each time. The error says where it is and why it cannot be read, and
/// nothing of it.
pub type Reread = Arc<dyn Fn() -> Result<Zeroizing<String>, String> + Send + Sync>;

/// What is needed to ask a server for keys.
#[derive(Clone, Default)]
pub struct KeyServer {
    /// The certificates, as PEM, of the authorities that vouch for it, in place of the system's.
    /// Only over https.
    pub authorities: Option<Reread>,
    /// What is sent to it as `Authorization: Bearer`.
    pub bearer: Option<Reread>,
}

impl fmt::Debug for KeyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyServer")
            .field("authorities", &self.authorities.is_some())
            .field("bearer", &self.bearer.is_some())
            .finish()
    }
}

impl KeyServer {
    /// Whether what is needed is there and can be used.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        self.roots()?;
        self.authorization()?;
        Ok(())
    }

    /// The authorities; `None` for the system's.
    pub(super) fn roots(&self) -> Result<Option<RootCertStore>, String> {
        let Some(read) = &self.authorities else { return Ok(None) };
        let text = read()?;
        let (bytes, certificates) = MAX_AUTHORITIES;
        if text.len() > bytes {
            return Err(format!("the certificates are longer than {bytes} bytes"));
        }
        let found = pem::parse_many(text.as_bytes()).map_err(|why| format!("the certificates: {why}"))?;
        if found.is_empty()
            || found.len() > certificates
            || found.iter().any(|one| one.tag() != "CERTIFICATE")
        {
            return Err(format!(
                "there have to be 1 to {certificates} certificates in PEM, and nothing else"
            ));
        }
        let mut roots = RootCertStore::empty();
        for certificate in found {
            let certificate = CertificateDer::from(certificate.into_contents());
            roots.add(certificate).map_err(|why| format!("a certificate cannot be used: {why}"))?;
        }
        Ok(Some(roots))
    }

    /// The value of the header `Authorization`.
    pub(super) fn authorization(&self) -> Result<Option<Zeroizing<String>>, String> {
        let Some(read) = &self.bearer else { return Ok(None) };
        let text = read()?;
        // An editor puts a line end behind a token, which is not part of it.
        let token = text.trim_end_matches(['\r', '\n']);
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("the bearer token is not 1 to {MAX_TOKEN} printable characters of ASCII"));
        }
        Ok(Some(Zeroizing::new(format!("Bearer {token}"))))
    }
}
