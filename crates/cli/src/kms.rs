//! AWS KMS as the program uses it: where it is built in, and what is logged of it.
//!
//! A key that is made or given up costs money and is in nobody's document before or after, so both
//! are records of the audit, and one that could not be given up is an error that names it.
//! Signatures are in the audit of the tokens.

#[cfg(feature = "kms")]
pub(crate) use built_in::Kms;
#[cfg(not(feature = "kms"))]
pub(crate) use left_out::Kms;

/// What somebody is told who asks for it where it is not.
pub(crate) const NOT_BUILT_IN: &str =
    "this program was built without AWS KMS; use one that was built with --features kms";

#[cfg(not(feature = "kms"))]
mod left_out {
    use crate::failure::{Outcome, configuration};
    use countersign_issuer::IssuerUrl;
    use countersign_keyring::{DataKeyService, KeyService, RingName};
    use std::{collections::BTreeMap, sync::Arc};

    #[derive(Debug, Clone)]
    pub(crate) struct Kms;

    impl Kms {
        pub(crate) fn new(_: &IssuerUrl, _: BTreeMap<RingName, Vec<String>>) -> Self {
            Self
        }

        pub(crate) fn service(&self) -> Option<Arc<dyn KeyService>> {
            None
        }

        pub(crate) fn data_keys(&self, _: &str) -> Outcome<Arc<dyn DataKeyService>> {
            Err(configuration(super::NOT_BUILT_IN))
        }
    }
}

#[cfg(feature = "kms")]
mod built_in {
    use crate::failure::Outcome;
    use async_trait::async_trait;
    use countersign_issuer::IssuerUrl;
    use countersign_jose::{Algorithm, KeySize};
    use countersign_keyring::{
        DataKeyService, KeyService, RemoteKey, RingName, ServiceError,
        kms::{self, KmsDataKeys},
    };
    use std::{collections::BTreeMap, sync::Arc};

    /// KMS for one configuration: all its users share one client. Nothing is asked of it before it
    /// is needed.
    #[derive(Debug, Clone)]
    pub(crate) struct Kms(kms::Kms);

    impl Kms {
        /// `replicas` are regions that have a replica of each key made for a ring.
        pub(crate) fn new(issuer: &IssuerUrl, replicas: BTreeMap<RingName, Vec<String>>) -> Self {
            Self(kms::Kms::new(issuer.as_str().to_owned(), replicas))
        }

        /// The service that keeps keys.
        #[expect(clippy::unnecessary_wraps, reason = "the same as where it is not built in")]
        pub(crate) fn service(&self) -> Option<Arc<dyn KeyService>> {
            Some(Arc::new(Audited(self.0.clone())))
        }

        /// The data keys under a key of KMS.
        #[expect(clippy::unnecessary_wraps, reason = "the same as where it is not built in")]
        pub(crate) fn data_keys(&self, key: &str) -> Outcome<Arc<dyn DataKeyService>> {
            Ok(Arc::new(KmsDataKeys::new(self.0.clone(), key.to_owned())))
        }
    }

    /// KMS, with a record of every key that is made or given up.
    #[derive(Debug)]
    struct Audited(kms::Kms);

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
