//! The caches of a CloudFront distribution, which are told what has changed and nothing else.
//!
//! The paths are those that browsers ask for, so the issuer's own. One invalidation has one
//! reference, made here, which makes AWS's retries harmless; none is made where nothing has changed
//! (Amazon CloudFront Developer Guide, "Invalidating files").

#[cfg(feature = "cloudfront")]
pub(super) use self::built_in::Distribution;

#[cfg(not(feature = "cloudfront"))]
mod left_out {
    use crate::failure::{Outcome, configuration};

    /// In a build without CloudFront.
    #[derive(Debug)]
    pub(in super::super) enum Distribution {}

    impl Distribution {
        #[expect(clippy::unused_async, reason = "as it is where CloudFront is known")]
        pub(in super::super) async fn connect(_: &str, _: bool) -> Outcome<Self> {
            Err(configuration("this build does not know CloudFront; build it with --features cloudfront"))
        }

        #[expect(clippy::unused_async, reason = "as it is where CloudFront is known")]
        pub(in super::super) async fn forget(&self, _: Vec<String>) -> Outcome<Option<String>> {
            match *self {}
        }
    }
}

#[cfg(not(feature = "cloudfront"))]
pub(super) use self::left_out::Distribution;

#[cfg(feature = "cloudfront")]
mod built_in {
    use crate::failure::{Failure, Outcome, configuration, internal, usage};
    use countersign_aws::cloudfront::{Invalidations, NotInvalidated};
    use countersign_settings::duration::words;
    use countersign_store::{Clock, SystemClock};
    use std::{
        hash::{BuildHasher, Hasher, RandomState},
        time::Duration,
    };

    /// How long `--wait` waits. CloudFront takes a minute or two.
    const LONGEST: Duration = Duration::from_secs(600);
    const PAUSE: Duration = Duration::from_secs(5);

    /// A distribution, and whether to wait for it.
    #[derive(Debug)]
    pub(in super::super) struct Distribution {
        id: String,
        invalidations: Invalidations,
        wait: bool,
    }

    impl Distribution {
        /// Asks AWS for nothing yet.
        pub(in super::super) async fn connect(id: &str, wait: bool) -> Outcome<Self> {
            if !(1..=64).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(usage("--cloudfront takes the id of a distribution, like E2QWRUHAPOMQZL"));
            }
            let invalidations = Invalidations::of(id).await.map_err(configuration)?;
            Ok(Self { id: id.to_owned(), invalidations, wait })
        }

        /// Has `paths` forgotten: the id of the invalidation, or `None` where there is nothing to
        /// forget.
        pub(in super::super) async fn forget(&self, paths: Vec<String>) -> Outcome<Option<String>> {
            if paths.is_empty() {
                return Ok(None);
            }
            let about = |why: String| {
                format!("what is published has changed, but CloudFront does not know it yet: {why}")
            };
            // A shell must not look for files of such a name.
            let quoted = |path: &String| if path.contains('*') { format!("'{path}'") } else { path.clone() };
            let named = paths.iter().map(quoted).collect::<Vec<_>>().join(" ");
            let again = format!(
                "run `aws cloudfront create-invalidation --distribution-id {} --paths {named}`, or wait until the caches \
                 forget by themselves",
                self.id
            );
            let made = self.invalidations.create(&paths, &reference()).await;
            let made = made.map_err(|why| self.failure(&why, &again, about))?;
            if self.wait {
                self.wait_for(&made.id).await?;
            }
            Ok(Some(made.id))
        }

        async fn wait_for(&self, invalidation: &str) -> Outcome {
            let about = |why: String| format!("the invalidation {invalidation} is under way, but: {why}");
            let look = async {
                loop {
                    let found = self.invalidations.get(invalidation).await;
                    let found = found.map_err(|why| self.failure(&why, "look at it again", about))?;
                    if found.status.eq_ignore_ascii_case("completed") {
                        return Ok(());
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            let waited = tokio::time::timeout(LONGEST, look).await;
            waited
                .unwrap_or_else(|_| Err(internal(about(format!("it is not done after {}", words(LONGEST))))))
        }

        fn failure(&self, why: &NotInvalidated, remedy: &str, about: impl Fn(String) -> String) -> Failure {
            match why {
                NotInvalidated::NoDistribution => configuration(about(format!(
                    "there is no distribution {}; correct --cloudfront, then {remedy}",
                    self.id
                ))),
                NotInvalidated::Denied(code) => configuration(about(format!(
                    "this role may not invalidate ({code}); allow cloudfront:CreateInvalidation (and GetInvalidation for --wait), \
                     then {remedy}"
                ))),
                NotInvalidated::NotTrusted(code) => configuration(about(format!(
                    "AWS does not accept these credentials ({code}); renew or correct them, then {remedy}"
                ))),
                NotInvalidated::NotUnderstood => internal(about(format!(
                    "its answer cannot be read, and the invalidation may have been made; {remedy}"
                ))),
                NotInvalidated::Refused(code) => internal(about(format!("it refuses ({code}); {remedy}"))),
                NotInvalidated::Throttled(_) => internal(about(format!("{why}; {remedy}"))),
                NotInvalidated::Unusable(_)
                | NotInvalidated::NoCredentials(_)
                | NotInvalidated::Unavailable(_) => {
                    internal(about(format!("it cannot be asked: {why}; {remedy}")))
                }
            }
        }
    }

    /// A name for one invalidation that no other has.
    fn reference() -> String {
        let chance = RandomState::new().build_hasher().finish();
        format!("countersign-{}-{chance:016x}", SystemClock.now().unix_seconds())
    }
}
