//! What KMS may do wrong: nothing but a signature of the key over the message is ever released, and
//! nothing waits forever.

use super::place::{ISSUER, Place, config, impatient, signer, token};
use super::stand_in::{Answer, StandIn};
use countersign_jose::{Algorithm, KeySize, PrivateKey, PublicKey, SigningKey};
use countersign_keyring::{RemoteKey, ServiceError, SignError, kms::Kms};
use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

fn why(outcome: Result<String, SignError>) -> ServiceError {
    match outcome.unwrap_err() {
        SignError::Service { why, .. } => why,
        other => panic!("{other}"),
    }
}

fn exception(name: &str, message: &str) -> String {
    format!("{{\"__type\":\"{name}\",\"message\":\"{message}\"}}")
}

const JSON: [(&str, &str); 1] = [("content-type", "application/x-amz-json-1.1")];

#[tokio::test]
async fn what_is_no_signature_of_the_key_is_never_released() {
    let private = PrivateKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    let other = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    let given = Arc::clone(&answer);
    let stand_in = StandIn::start(move |_, _| {
        Answer::json(serde_json::json!({ "Signature": StandIn::base64(&given.lock().unwrap()) }))
    })
    .await;
    let kms = Kms::with(ISSUER.to_owned(), &config(&stand_in.url()), 8);
    let key = RemoteKey { name: "k".into(), public: private.public_key() };
    let remote = signer(key, Algorithm::ES256, Arc::new(kms));
    let der = |signature: &[u8]| {
        let integer = |bytes: &[u8]| {
            let zeros = bytes.iter().take_while(|b| **b == 0).count();
            let mut number = bytes[zeros..].to_vec();
            if number[0] & 0x80 != 0 {
                number.insert(0, 0);
            }
            [&[2, u8::try_from(number.len()).unwrap()][..], &number].concat()
        };
        let inside = [integer(&signature[..32]), integer(&signature[32..])].concat();
        [&[0x30, u8::try_from(inside.len()).unwrap()][..], &inside].concat()
    };
    let of_another_key = other.sign_bytes(b"message").unwrap();
    let good = SigningKey::new(&private, Algorithm::ES256).unwrap();
    let of_another_message = good.sign_bytes(b"another message").unwrap();
    let this = super::place::input("{}", Algorithm::ES256);
    let right = good.sign(&this).unwrap();
    let with_a_tail = [der(&right), vec![0]].concat();
    for (what, bytes) in [
        ("nothing", vec![]),
        ("of another key", der(&of_another_key)),
        ("of another message", der(&of_another_message)),
        ("as it stands in a JWS", right.clone()),
        ("with a byte behind it", with_a_tail),
        ("garbage", vec![0xff; 70]),
        ("r and s zero", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
    ] {
        *answer.lock().unwrap() = bytes;
        assert_eq!(why(token(remote.as_ref(), "{}").await), ServiceError::WrongSignature, "{what}");
    }
    *answer.lock().unwrap() = der(&right);
    token(remote.as_ref(), "{}").await.unwrap();
}

/// OpenSSL signs what KMS is asked for. An emulator of KMS is known whose salts have another length
/// than RFC 7518 section 3.5 says: that of the hash.
#[tokio::test]
async fn an_rsa_signature_with_another_salt_or_padding_is_never_released() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let openssl = move |arguments: &str, input: &[u8]| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "openssl {arguments}");
        done.stdout
    };
    openssl("genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem", b"");
    let public = PublicKey::from_spki_der(&openssl("pkey -in key.pem -pubout -outform DER", b"")).unwrap();
    let padding: Arc<Mutex<&str>> = Arc::default();
    let given = Arc::clone(&padding);
    let stand_in = StandIn::start(move |_, body| {
        let chosen = *given.lock().unwrap();
        let options = format!("pkeyutl -sign -inkey key.pem -pkeyopt digest:sha256 -pkeyopt {chosen}");
        let signature = openssl(&options, &super::place::bytes(&body["Message"]));
        Answer::json(serde_json::json!({ "Signature": StandIn::base64(&signature) }))
    })
    .await;
    let kms = Kms::with(ISSUER.to_owned(), &config(&stand_in.url()), 8);
    let key = RemoteKey { name: "k".into(), public };
    for (algorithm, right, wrong) in [
        (
            Algorithm::PS256,
            "rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32",
            &[
                "rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:0",
                "rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:20",
                "rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:max",
                "rsa_padding_mode:pkcs1",
            ][..],
        ),
        (
            Algorithm::RS256,
            "rsa_padding_mode:pkcs1",
            &["rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32"][..],
        ),
    ] {
        let remote = signer(key.clone(), algorithm, Arc::new(kms.clone()));
        for padded in wrong {
            *padding.lock().unwrap() = padded;
            assert_eq!(
                why(token(remote.as_ref(), "{}").await),
                ServiceError::WrongSignature,
                "{algorithm}: {padded}"
            );
        }
        *padding.lock().unwrap() = right;
        token(remote.as_ref(), "{}").await.unwrap();
    }
}

#[tokio::test]
async fn throttling_is_waited_for_and_in_the_end_told() {
    let place = Place::new().await;
    let remote = place.signer(Algorithm::ES256).await;
    let body = exception("ThrottlingException", "Rate exceeded");
    place.relay.answer(3, "400 Bad Request", &JSON, &body);
    token(remote.as_ref(), "{}").await.unwrap();
    assert_eq!(place.asked("Sign").len(), 4);
    place.relay.answer(usize::MAX, "400 Bad Request", &JSON, &body);
    let told = tokio::time::timeout(Duration::from_secs(120), token(remote.as_ref(), "{}")).await.unwrap();
    assert_eq!(why(told), ServiceError::Busy);
    assert_eq!(place.asked("Sign").len(), 8);
    place.relay.pass();
    token(remote.as_ref(), "{}").await.unwrap();
}

#[tokio::test]
async fn errors_of_the_server_are_tried_again_and_then_told() {
    let place = Place::new().await;
    let remote = place.signer(Algorithm::ES256).await;
    let body = exception("KMSInternalException", "try again");
    place.relay.answer(2, "500 Internal Server Error", &JSON, &body);
    token(remote.as_ref(), "{}").await.unwrap();
    for body in [body.as_str(), "<html>a proxy's page</html>"] {
        place.relay.answer(usize::MAX, "503 Service Unavailable", &JSON, body);
        assert!(matches!(why(token(remote.as_ref(), "{}").await), ServiceError::Unavailable(_)));
    }
}

#[tokio::test]
async fn a_kms_that_is_away_or_says_nothing_is_given_up_in_bounded_time() {
    let place = Place::new().await;
    let key = place.create(Algorithm::ES256, KeySize::Rsa2048).await;
    let kms = Kms::with(ISSUER.to_owned(), &impatient(&place.relay.url()), 8);
    let remote = signer(key, Algorithm::ES256, Arc::new(kms));
    place.relay.refuse();
    let refused = why(token(remote.as_ref(), "{}").await);
    assert!(matches!(&refused, ServiceError::Unavailable(_)), "{refused}");
    place.relay.freeze();
    let before = place.asked("Sign").len();
    let frozen = tokio::time::timeout(Duration::from_secs(120), token(remote.as_ref(), "{}")).await.unwrap();
    let frozen = why(frozen);
    assert!(matches!(&frozen, ServiceError::Unavailable(said) if said.contains("in time")), "{frozen}");
    let asked = place.asked("Sign").len() - before;
    assert!(asked < 4, "the whole call has a time-out before the last attempt does: {asked}");
    place.relay.pass();
    // What is slow here is the machine.
    let mut answered = token(remote.as_ref(), "{}").await;
    for _ in 0..20 {
        if answered.is_ok() {
            break;
        }
        answered = token(remote.as_ref(), "{}").await;
    }
    answered.unwrap();
}

#[tokio::test]
async fn a_key_that_is_disabled_missing_or_not_ours_is_named_with_the_reason() {
    let place = Place::new().await;
    let key = place.create(Algorithm::ES256, KeySize::Rsa2048).await;
    let remote = signer(key.clone(), Algorithm::ES256, place.service());
    place.client.disable_key().key_id(&key.name).send().await.unwrap();
    let said = token(remote.as_ref(), "{}").await.unwrap_err().to_string();
    assert!(said.contains("DisabledException") && said.contains(&key.name), "{said}");
    assert_eq!(place.asked("Sign").len(), 1, "nothing changes when it is asked again");
    place.client.enable_key().key_id(&key.name).send().await.unwrap();
    token(remote.as_ref(), "{}").await.unwrap();
    place.client.schedule_key_deletion().key_id(&key.name).send().await.unwrap();
    let gone = why(token(remote.as_ref(), "{}").await);
    assert!(matches!(&gone, ServiceError::Unusable(said) if said.contains("KMSInvalidState")), "{gone}");
    let name = key.name.replace(|c: char| c.is_ascii_digit(), "0");
    let missing = signer(RemoteKey { name, public: key.public }, Algorithm::ES256, place.service());
    let missing = why(token(missing.as_ref(), "{}").await);
    assert!(matches!(&missing, ServiceError::Unusable(said) if said.contains("NotFound")), "{missing}");

    let body = exception("AccessDeniedException", "not authorized to perform: kms:Sign");
    place.relay.answer(usize::MAX, "400 Bad Request", &JSON, &body);
    let denied = why(token(remote.as_ref(), "{}").await);
    assert!(matches!(&denied, ServiceError::Denied(said) if said.contains("kms:Sign")), "{denied}");
}

#[tokio::test]
async fn no_more_signatures_are_asked_for_at_once_than_may_be_and_who_waits_too_long_is_told() {
    let private = PrivateKey::generate(Algorithm::RS256, KeySize::default()).unwrap();
    let key = SigningKey::new(&private, Algorithm::RS256).unwrap();
    let this = super::place::input("{}", Algorithm::RS256);
    let right = StandIn::base64(&key.sign(&this).unwrap());
    let stand_in = StandIn::start(move |_, _| Answer::json(serde_json::json!({ "Signature": right }))).await;
    let kms = Kms::with(ISSUER.to_owned(), &config(&stand_in.url()), 3);
    let public = private.public_key();
    let ask = || {
        let key = RemoteKey { name: "k".into(), public: public.clone() };
        let remote = signer(key, Algorithm::RS256, Arc::new(kms.clone()));
        tokio::spawn(async move { token(remote.as_ref(), "{}").await })
    };
    for task in (0..40).map(|_| ask()).collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    assert!(stand_in.most_at_once() <= 3, "{}", stand_in.most_at_once());
    assert_eq!(stand_in.asked(), 40);

    // Nobody is answered: three are on their way, the fourth waits for its turn and is told that
    // there is no turn left.
    let all = stand_in.gate.available_permits();
    let held = Arc::clone(&stand_in.gate).acquire_many_owned(u32::try_from(all).unwrap()).await.unwrap();
    let waiting: Vec<_> = (0..3).map(|_| ask()).collect();
    while stand_in.asked() < 43 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(why(ask().await.unwrap()), ServiceError::Busy);
    drop(held);
    for task in waiting {
        // Answered late, or given up by then; either way there is an end.
        let _ = task.await.unwrap();
    }
    token(
        signer(
            RemoteKey { name: "k".into(), public: public.clone() },
            Algorithm::RS256,
            Arc::new(kms.clone()),
        )
        .as_ref(),
        "{}",
    )
    .await
    .unwrap();
}
