//! AWS KMS as the program uses it: where it is built in, and what is logged of it.
//!
//! A key that is made or given up costs money and is in nobody's document before or after, so both are records of the audit,
//! and one that could not be given up is an error that names it. Signatures are in the audit of the tokens.

#[cfg(feature = "kms")]
pub(crate) use built_in::{data_keys, service};
#[cfg(not(feature = "kms"))]
pub(crate) use left_out::{data_keys, service};

/// What somebody is told who asks for it where it is not.
pub(crate) const NOT_BUILT_IN: &str =
    "this program was built without AWS KMS; use one that was built with --features kms";

#[cfg(not(feature = "kms"))]
mod left_out {
    use crate::{
        config::Config,
        failure::{Outcome, configuration},
    };
    use countersign_keyring::{DataKeyService, KeyService};
    use std::sync::Arc;

    pub(crate) fn service(_: &Config) -> Option<Arc<dyn KeyService>> {
        None
    }

    pub(crate) fn data_keys(_: &Config, _: &str) -> Outcome<Arc<dyn DataKeyService>> {
        Err(configuration(super::NOT_BUILT_IN))
    }
}

#[cfg(feature = "kms")]
mod built_in {
    use crate::{config::Config, failure::Outcome};
    use async_trait::async_trait;
    use countersign_jose::{Algorithm, KeySize};
    use countersign_keyring::{
        DataKeyService, KeyService, RemoteKey, RingName, ServiceError,
        kms::{Kms, KmsDataKeys},
    };
    use std::sync::Arc;

    /// The service that keeps keys. Nothing is asked of it before it is needed.
    #[expect(clippy::unnecessary_wraps, reason = "the same as where it is not built in")]
    pub(crate) fn service(config: &Config) -> Option<Arc<dyn KeyService>> {
        Some(Arc::new(Audited(kms(config))))
    }

    /// The data keys under a key of KMS.
    #[expect(clippy::unnecessary_wraps, reason = "the same as where it is not built in")]
    pub(crate) fn data_keys(config: &Config, key: &str) -> Outcome<Arc<dyn DataKeyService>> {
        Ok(Arc::new(KmsDataKeys::new(kms(config), key.to_owned())))
    }

    fn kms(config: &Config) -> Kms {
        Kms::new(config.issuer.as_str().to_owned())
    }

    /// KMS, with a record of every key that is made or given up.
    #[derive(Debug)]
    struct Audited(Kms);

    #[async_trait]
    impl KeyService for Audited {
        async fn create(
            &self,
            ring: &RingName,
            algorithm: Algorithm,
            size: KeySize,
        ) -> Result<RemoteKey, ServiceError> {
            let made = self.0.create(ring, algorithm, size).await;
            if let Ok(key) = &made {
                tracing::info!(
                    target: "countersign::audit",
                    decision = "kms_key_made", ring = ring.as_str(), kms = key.name, kid = key.public.thumbprint()
                );
            }
            made
        }

        async fn describe(&self, name: &str, algorithm: Algorithm) -> Result<RemoteKey, ServiceError> {
            self.0.describe(name, algorithm).await
        }

        async fn sign(
            &self,
            name: &str,
            algorithm: Algorithm,
            message: &[u8],
        ) -> Result<Vec<u8>, ServiceError> {
            self.0.sign(name, algorithm, message).await
        }

        async fn discard(&self, name: &str) -> Result<(), ServiceError> {
            let given_up = self.0.discard(name).await;
            match &given_up {
                Ok(()) => tracing::info!(
                    target: "countersign::audit",
                    decision = "kms_key_given_up", kms = name, "made and not needed; it is deleted in seven days"
                ),
                Err(why) => tracing::error!(
                    kms = name,
                    "this KMS key was made and is not needed, and could not be scheduled for deletion; do so by hand: {why}"
                ),
            }
            given_up
        }
    }
}
