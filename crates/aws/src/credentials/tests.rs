//! What is held, renewed, given up and told, by a chain that the test plays.

use super::*;
use aws_config::Region;
use aws_credential_types::{
    Credentials as Found,
    provider::{SharedCredentialsProvider, future},
};
use std::sync::atomic::{AtomicU32, Ordering};

/// Gives credentials that end after so many seconds, or fails.
#[derive(Debug)]
struct Giving {
    asked: Arc<AtomicU32>,
    ends: Vec<Option<u64>>,
    with_end: bool,
}

impl ProvideCredentials for Giving {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst) as usize;
        let ends = self.ends.get(turn.min(self.ends.len() - 1)).copied().flatten();
        future::ProvideCredentials::ready(match ends {
            Some(ends) => Ok(Found::new(
                format!("AKIA{turn}"),
                "secret",
                Some("token".into()),
                self.with_end.then(|| at(ends)),
                "test",
            )),
            None => Err(CredentialsError::provider_error("SECRET was refused")),
        })
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn chain(ends: &[Option<u64>], with_end: bool) -> (Arc<Chain>, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let giving = Giving { asked: Arc::clone(&asked), ends: ends.to_vec(), with_end };
    let aws = SdkConfig::builder()
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(giving))
        .build();
    (Arc::new(Chain::of(aws)), asked)
}

const NEED: Duration = Duration::from_secs(300);

#[tokio::test]
async fn credentials_are_replaced_before_they_end_and_not_sooner() {
    let (chain, asked) = chain(&[Some(1000), Some(9000)], true);
    assert!(chain.held(at(0)).is_none() && !chain.is_fresh(at(0), NEED));
    for (now, key, times) in
        [(0, "AKIA0", 1), (600, "AKIA0", 1), (699, "AKIA0", 1), (700, "AKIA1", 2), (8000, "AKIA1", 2)]
    {
        assert_eq!(chain.refresh(at(now), NEED).await.unwrap().key_id, key, "{now}");
        assert_eq!(asked.load(Ordering::SeqCst), times, "{now}");
        assert!(chain.is_fresh(at(now), NEED), "{now}");
    }
    assert!(!chain.is_fresh(at(8700), NEED) && chain.held(at(8999)).is_some());
    assert!(chain.held(at(9000)).is_none(), "they have ended");
}

#[tokio::test]
async fn a_chain_that_fails_is_left_alone_for_a_while_and_what_is_held_goes_on_until_it_ends() {
    let (chain, asked) = chain(&[Some(1000), None], true);
    chain.refresh(at(0), NEED).await.unwrap();
    for (now, times) in [(800, 2), (801, 2), (804, 2), (806, 3), (999, 4)] {
        assert_eq!(chain.refresh(at(now), NEED).await.unwrap().key_id, "AKIA0", "{now}");
        assert_eq!(asked.load(Ordering::SeqCst), times, "{now}");
    }
    for _ in 0..10 {
        let why = chain.refresh(at(1000), NEED).await.unwrap_err();
        assert_eq!(why, NoCredentials::Failed("provider error"));
        assert!(!format!("{why} {why:?} {chain:?}").contains("SECRET"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_chain_that_gives_the_same_ones_again_is_not_asked_by_every_request() {
    let (chain, asked) = chain(&[Some(1000)], true);
    for now in [0, 800, 801, 802, 803, 804] {
        assert!(chain.refresh(at(now), NEED).await.is_ok());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(chain.refresh(at(1001), NEED).await.unwrap_err(), NoCredentials::Ended);
}

#[tokio::test]
async fn a_chain_whose_credentials_live_shorter_than_is_wanted_is_asked_now_and_then() {
    let (chain, asked) = chain(&[Some(3600)], true);
    let wanted = Duration::from_secs(12 * 3600);
    let mut times = Vec::new();
    for now in 0..3600 {
        let before = asked.load(Ordering::SeqCst);
        // As a request does.
        if !chain.is_fresh(at(now), wanted) {
            assert_eq!(
                chain.refresh(at(now), wanted).await.unwrap().key_id,
                "AKIA0".replace('0', &before.to_string())
            );
        }
        if asked.load(Ordering::SeqCst) > before {
            times.push(now);
        }
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps.first(), Some(&300), "no more often than every five minutes while much is left");
    assert!(gaps.is_sorted_by(|one, next| one >= next) && gaps.iter().all(|gap| *gap >= 5), "{gaps:?}");
    assert!(times.len() < 70, "{} times in an hour", times.len());
}

#[tokio::test]
async fn what_the_service_refuses_is_replaced_at_once_and_not_with_every_request() {
    let (chain, asked) = chain(&[Some(9000)], true);
    chain.refresh(at(0), NEED).await.unwrap();
    chain.give_up();
    assert!(!chain.is_fresh(at(1), NEED));
    assert_eq!(chain.refresh(at(1), NEED).await.unwrap().key_id, "AKIA1");
    assert!(chain.is_fresh(at(1), NEED) && asked.load(Ordering::SeqCst) == 2);
    // These are refused, too.
    for now in [1, 2, 3, 4, 5] {
        chain.give_up();
        assert!(chain.is_fresh(at(now), NEED), "{now}");
        assert_eq!(chain.refresh(at(now), NEED).await.unwrap().key_id, "AKIA1", "{now}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(chain.refresh(at(7), NEED).await.unwrap().key_id, "AKIA2");
    assert!(chain.is_fresh(at(100), NEED), "nothing is refused any more");
}

#[tokio::test]
async fn what_was_refused_is_not_gone_on_with_where_there_are_no_others() {
    let (chain, asked) = chain(&[Some(9000), None, Some(9000)], true);
    chain.refresh(at(0), NEED).await.unwrap();
    chain.give_up();
    for now in [1, 2, 3] {
        let why = chain.refresh(at(now), NEED).await.unwrap_err();
        assert_eq!(why, NoCredentials::Failed("provider error"), "{now}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(chain.refresh(at(7), NEED).await.unwrap().key_id, "AKIA2");
}

#[tokio::test]
async fn a_client_that_tells_its_callers_itself_has_renewals_alone_in_the_log() {
    use tracing_subscriber::layer::SubscriberExt;
    let told = Told::default();
    let _logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(told.clone()));
    let (_, asked) = chain(&[], true);
    let giving = Giving { asked, ends: vec![None, Some(1000), None, Some(9000)], with_end: true };
    let aws = SdkConfig::builder().region(Region::new("eu-central-1"));
    let aws = aws.credentials_provider(SharedCredentialsProvider::new(giving)).build();
    let chain = Arc::new(Chain::of_client(aws));
    chain.refresh(at(0), NEED).await.unwrap_err();
    chain.refresh(at(10), NEED).await.unwrap();
    assert_eq!(told.take(), [""; 0], "the caller has the error");
    chain.refresh(at(800), NEED).await.unwrap();
    let [warning] = told.take().try_into().unwrap();
    assert!(warning.starts_with("WARN the AWS credentials could not be renewed"), "{warning}");
    chain.refresh(at(810), NEED).await.unwrap();
    assert_eq!(told.take(), ["INFO the AWS credentials can be had again"]);
}

/// Messages of the log, with their levels.
#[derive(Clone, Default)]
struct Told(Arc<std::sync::Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Told {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Message<'m>(&'m mut String);
        impl tracing::field::Visit for Message<'_> {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn fmt::Debug) {
                self.0.push_str(&format!("{value:?}"));
            }
        }
        let mut text = format!("{} ", event.metadata().level());
        event.record(&mut Message(&mut text));
        self.0.lock().unwrap().push(text);
    }
}

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn a_renewal_that_fails_is_told_while_the_old_credentials_go_on_and_once_for_each_reason() {
    use tracing_subscriber::layer::SubscriberExt;
    let told = Told::default();
    let _logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(told.clone()));
    let (chain, _) = chain(&[Some(1000), None, None, None, Some(9000)], true);
    chain.refresh(at(0), NEED).await.unwrap();
    assert_eq!(told.take(), [""; 0], "all is well");
    chain.refresh(at(800), NEED).await.unwrap();
    let why = "the AWS credentials could not be had: a provider of the chain failed (provider error)";
    let warning =
        format!("WARN the AWS credentials could not be renewed, and the old ones end in 200 s: {why}");
    assert_eq!(told.take(), [warning]);
    chain.refresh(at(810), NEED).await.unwrap();
    chain.refresh(at(1001), NEED).await.unwrap_err();
    assert_eq!(told.take(), [""; 0], "the same reason");
    chain.refresh(at(1010), NEED).await.unwrap();
    assert_eq!(told.take(), ["INFO the AWS credentials can be had again"]);

    let nowhere = Arc::new(Chain::of(SdkConfig::builder().region(Region::new("eu-central-1")).build()));
    nowhere.refresh(at(0), NEED).await.unwrap_err();
    let [error] = told.take().try_into().unwrap();
    assert!(error.starts_with("ERROR there are no AWS credentials to sign with: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_never_says_what_its_chain_is_made_of_is_not_waited_for() {
    let chain = Arc::new(Chain::loaded_by(Box::new(|_| Box::pin(std::future::pending())), None));
    let began = tokio::time::Instant::now();
    let why = chain.refresh(at(0), NEED).await.unwrap_err();
    assert_eq!((why, began.elapsed()), (NoCredentials::Failed("no answer in time"), ATTEMPT));
}

#[tokio::test]
async fn credentials_without_an_end_are_asked_for_again_after_a_quarter_of_an_hour() {
    let (chain, asked) = chain(&[Some(0)], false);
    for (now, times) in [(0, 1), (10, 1), (899, 1), (900, 2), (1000, 2)] {
        assert!(chain.refresh(at(now), NEED).await.unwrap().ends.is_none());
        assert_eq!(asked.load(Ordering::SeqCst), times, "{now}");
    }
}

/// A provider that never answers.
#[derive(Debug)]
struct Silent(Arc<AtomicU32>);

impl ProvideCredentials for Silent {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.0.fetch_add(1, Ordering::SeqCst);
        future::ProvideCredentials::new(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_never_answers_is_noted_though_nobody_waits_for_it() {
    let asked = Arc::new(AtomicU32::new(0));
    let aws = SdkConfig::builder()
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Silent(Arc::clone(&asked))))
        .build();
    let chain = Arc::new(Chain::of(aws));
    // Its request is given up after a second.
    assert!(tokio::time::timeout(Duration::from_secs(1), chain.refresh(at(0), NEED)).await.is_err());
    tokio::time::sleep(ATTEMPT).await;
    for now in [1, 3, 4] {
        let why = chain.refresh(at(now), NEED).await.unwrap_err();
        assert_eq!(why, NoCredentials::Failed("no answer in time"), "{now}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_machine_without_credentials_says_so() {
    let aws = SdkConfig::builder().region(Region::new("eu-central-1")).build();
    assert_eq!(Arc::new(Chain::of(aws)).refresh(at(0), NEED).await.unwrap_err(), NoCredentials::Nowhere);
}
