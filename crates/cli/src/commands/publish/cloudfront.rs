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
    use aws_sdk_cloudfront::{
        Client,
        error::{ProvideErrorMetadata, SdkError},
        types::{InvalidationBatch, Paths},
    };
    use countersign_aws::{Named, Service, Unusable};
    use countersign_settings::duration::words;
    use countersign_store::{Clock, SystemClock};
    use std::{
        fmt::Debug,
        hash::{BuildHasher, Hasher, RandomState},
        time::Duration,
    };

    /// How long `--wait` waits. CloudFront takes a minute or two.
    const LONGEST: Duration = Duration::from_secs(600);
    const PAUSE: Duration = Duration::from_secs(5);
    /// Where CloudFront's own API is, for those who have no region.
    const REGION: &str = "us-east-1";

    /// A distribution, and whether to wait for it.
    #[derive(Debug)]
    pub(in super::super) struct Distribution {
        id: String,
        client: Client,
        wait: bool,
    }

    impl Distribution {
        /// Asks AWS for nothing yet.
        pub(in super::super) async fn connect(id: &str, wait: bool) -> Outcome<Self> {
            if !(1..=64).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(usage("--cloudfront takes the id of a distribution, like E2QWRUHAPOMQZL"));
            }
            let aws = match countersign_aws::configuration(Service::CloudFront, Named::default()).await {
                Err(Unusable::NoRegion) => {
                    let named = Named { region: Some(REGION), endpoint: None };
                    countersign_aws::configuration(Service::CloudFront, named).await
                }
                found => found,
            };
            let aws = aws.map_err(configuration)?;
            Ok(Self { id: id.to_owned(), client: Client::new(&aws), wait })
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
            let quantity = i32::try_from(paths.len()).unwrap_or(i32::MAX);
            let batch =
                Paths::builder().quantity(quantity).set_items(Some(paths)).build().and_then(|paths| {
                    InvalidationBatch::builder().paths(paths).caller_reference(reference()).build()
                });
            let batch = batch.map_err(internal)?;
            let ask = self.client.create_invalidation().distribution_id(&self.id).invalidation_batch(batch);
            let made = ask.send().await.map_err(|why| self.failure(&why, &again, about))?;
            let Some(made) = made.invalidation else {
                return Err(internal(about("it does not say what it does".to_owned())));
            };
            if self.wait {
                self.wait_for(&made.id).await?;
            }
            Ok(Some(made.id))
        }

        async fn wait_for(&self, invalidation: &str) -> Outcome {
            let about = |why: String| format!("the invalidation {invalidation} is under way, but: {why}");
            let look = async {
                loop {
                    let ask = self.client.get_invalidation().distribution_id(&self.id).id(invalidation);
                    let found =
                        ask.send().await.map_err(|why| self.failure(&why, "look at it again", about))?;
                    if found.invalidation.is_some_and(|found| found.status.eq_ignore_ascii_case("completed"))
                    {
                        return Ok(());
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            let waited = tokio::time::timeout(LONGEST, look).await;
            waited
                .unwrap_or_else(|_| Err(internal(about(format!("it is not done after {}", words(LONGEST))))))
        }

        fn failure<E, R>(
            &self,
            why: &SdkError<E, R>,
            remedy: &str,
            about: impl Fn(String) -> String,
        ) -> Failure
        where
            E: ProvideErrorMetadata + std::error::Error + 'static,
            R: Debug,
        {
            let code = why.code().unwrap_or_default();
            match (why, code) {
                (_, "NoSuchDistribution") => configuration(about(format!(
                    "there is no distribution {}; correct --cloudfront, then {remedy}",
                    self.id
                ))),
                (_, "AccessDenied" | "AccessDeniedException") => configuration(about(format!(
                    "this role may not invalidate; allow cloudfront:CreateInvalidation (and GetInvalidation for --wait), \
                     then {remedy}"
                ))),
                (SdkError::ServiceError(_), "") => internal(about(format!("it refuses; {remedy}"))),
                (SdkError::ServiceError(_), code) => {
                    internal(about(format!("it refuses ({code}); {remedy}")))
                }
                _ => internal(about(format!("it cannot be asked: {}; {remedy}", cause(why)))),
            }
        }
    }

    /// The innermost reason, which names no request.
    fn cause<E, R>(why: &SdkError<E, R>) -> String
    where
        E: std::error::Error + 'static,
        R: Debug,
    {
        let mut deepest: &dyn std::error::Error = why;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        deepest.to_string()
    }

    /// A name for one invalidation that no other has.
    fn reference() -> String {
        let chance = RandomState::new().build_hasher().finish();
        format!("countersign-{}-{chance:016x}", SystemClock.now().unix_seconds())
    }
}
