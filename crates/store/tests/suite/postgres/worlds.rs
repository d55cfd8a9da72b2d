//! Servers and databases that are not as they should be: each is one decision, in one line, within
//! the time limits.

use std::{sync::Arc, time::Duration};

use countersign_store::{
    Expect, MAX_DOCUMENT_BYTES, PostgresConfig, PostgresStore, Store, StoreError, SystemClock,
};
use countersign_testbed::free_port;
use tokio::{io::AsyncReadExt, net::TcpListener, time::Instant};

use super::{
    cluster::{self, Cluster, Database, PASSWORD},
    key,
};

/// Opening fails with `code`, in one line that holds `hint` and neither the password nor the user.
async fn is_refused(url: &str, code: &str, hint: &str) {
    let error = cluster::open(url).await.unwrap_err();
    is(&error, code, hint);
    let shown = format!("{error:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("tester"), "{shown}");
}

fn is(error: &StoreError, code: &str, hint: &str) {
    let text = error.to_string();
    assert_eq!(error.code(), code, "{text}");
    assert!(text.contains(hint) && text.contains("postgres://") && !text.contains('\n'), "{text}");
    assert!(!text.contains(PASSWORD) && !text.contains("tester"), "{text}");
}

/// A configuration whose patience is three seconds each: more than an honest answer takes on a busy
/// machine.
fn impatient(database: &Database<'_>) -> PostgresConfig {
    let limit = Duration::from_secs(3);
    let mut config = cluster::config(&database.url(""));
    (config.connect_timeout, config.acquire_timeout, config.statement_timeout) = (limit, limit, limit);
    config
}

async fn open_impatiently(database: &Database<'_>) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(impatient(database), Arc::new(SystemClock)).await
}

#[tokio::test]
async fn a_wrong_login_is_denied() {
    let database = cluster::database().await;
    let url = database.url("");
    is_refused(&url.replace(PASSWORD, "other"), "store_denied", "the password is wrong").await;
    is_refused(&url.replace(&format!(":{PASSWORD}"), ""), "store_denied", "the password is wrong").await;
    is_refused(&url.replace("tester", "nobody-here"), "store_denied", "no such user").await;
    database.run(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", database.name)).await;
    database.run(&format!("CREATE ROLE outsider_{} LOGIN PASSWORD '{PASSWORD}'", database.name)).await;
    let outsider = url.replace("tester", &format!("outsider_{}", database.name));
    is_refused(&outsider, "store_denied", "let this user").await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_misconfigured() {
    let database = cluster::database().await;
    let url = database.url("").replace(&database.name, "nowhere");
    is_refused(&url, "store_misconfigured", "no such database").await;
}

#[tokio::test]
async fn a_store_that_has_to_be_there_is_not_made() {
    let database = cluster::database().await;
    let clock: Arc<dyn countersign_store::Clock> = Arc::new(SystemClock);
    let existing =
        async || countersign_store::open_existing(&database.url(""), "/".as_ref(), Arc::clone(&clock)).await;
    is(&existing().await.unwrap_err(), "store_missing", "no store in its schema \"countersign\"");
    assert_eq!(database.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'countersign'").await, 0);
    database.open().await.unwrap();
    existing().await.unwrap();
}

#[tokio::test]
async fn where_nobody_listens_the_store_is_unavailable_at_once() {
    let port = free_port();
    let start = Instant::now();
    is_refused(&format!("postgres://tester:{PASSWORD}@127.0.0.1:{port}/db"), "store_unavailable", "refused")
        .await;
    is_refused("postgres://tester@/db?host=/nowhere", "store_unavailable", "No such file").await;
    assert!(start.elapsed() < cluster::GENEROUS / 2);
    is_refused("postgres://tester@host.invalid/db", "store_unavailable", "lookup").await;
}

#[tokio::test]
async fn what_does_not_answer_or_does_not_speak_postgres_is_unavailable_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://tester:{PASSWORD}@127.0.0.1:{port}/db?connect_timeout=1");
    let start = Instant::now();
    is_refused(&url, "store_unavailable", "no connection within 1s").await;
    assert!(start.elapsed() < cluster::GENEROUS / 2);

    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 100]).await;
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut client, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    is_refused(&url, "store_unavailable", "").await;
    is_refused(&format!("{url}&sslmode=require"), "store_unavailable", "").await;
}

#[tokio::test]
async fn a_newer_schema_and_a_foreign_table_are_refused_and_left_alone() {
    let database = cluster::database().await;
    let k = key("k");
    database.open().await.unwrap().put(&k, b"x", Expect::Absent, None).await.unwrap();
    database.run("UPDATE countersign.countersign_store SET version = 2").await;
    is_refused(&database.url(""), "store_misconfigured", "newer version of Countersign (schema 2").await;
    database.run("UPDATE countersign.countersign_store SET version = 1").await;
    assert_eq!(database.open().await.unwrap().get(&k).await.unwrap().unwrap().bytes, b"x");
    database.run("DELETE FROM countersign.countersign_store").await;
    is_refused(&database.url(""), "store_misconfigured", "another program").await;

    database
        .run("CREATE TABLE public.documents (mine INTEGER); CREATE TABLE public.more (mine INTEGER)")
        .await;
    is_refused(&database.url("?schema=public"), "store_misconfigured", "?schema=NAME").await;
    assert_eq!(database.number("SELECT count(*) FROM public.documents").await, 0);
    database.run("DROP TABLE public.documents").await;
    cluster::open(&database.url("?schema=public")).await.unwrap().list("").await.unwrap();
}

#[tokio::test]
async fn a_user_without_rights_is_told_what_is_missing_and_needs_none_to_make_tables_that_are_there() {
    let database = cluster::database().await;
    let user = format!("user_{}", database.name);
    database.run(&format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")).await;
    let url = database.url("").replace("tester", &user);
    let error = cluster::open(&url).await.unwrap_err();
    assert_eq!(error.code(), "store_denied");
    assert!(error.to_string().contains("CREATE SCHEMA"), "{error}");

    database.open().await.unwrap();
    assert_eq!(cluster::open(&url).await.unwrap_err().code(), "store_denied");
    database.run(&format!("GRANT USAGE ON SCHEMA countersign TO {user}")).await;
    let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA countersign TO {user}");
    database.run(&grant).await;
    let reader = cluster::open(&url).await.unwrap();
    assert_eq!(reader.get(&key("k")).await.unwrap(), None);
    let put = reader.put(&key("k"), b"x", Expect::Absent, None).await.unwrap_err();
    assert_eq!(put.code(), "store_denied", "{put}");
    database.run(&grant.replace("SELECT", "INSERT, UPDATE, DELETE")).await;
    reader.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();

    // The schema made by the owner, as the message says, and the tables by the user.
    database.run(&format!("CREATE SCHEMA own AUTHORIZATION {user}")).await;
    let own = cluster::open(&database.url("?schema=own").replace("tester", &user)).await.unwrap();
    own.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
}

#[tokio::test]
async fn tables_that_were_changed_are_corrupt() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    database.run("ALTER TABLE countersign.documents DROP COLUMN bytes").await;
    let error = store.put(&key("k2"), b"x", Expect::Absent, None).await.unwrap_err();
    is(&error, "store_corrupt", "(42703)");
    database.run("DROP TABLE countersign.documents").await;
    is(&store.get(&key("k")).await.unwrap_err(), "store_corrupt", "");
    assert_eq!(store.list("").await.unwrap_err().code(), "store_corrupt");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_unavailable_for_writing() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    let version = store.put(&key("k"), b"x", Expect::Absent, None).await.unwrap();
    drop(store);
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name)).await;
    let store = database.open().await.unwrap();
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"x");
    let error = store.put(&key("k"), b"y", Expect::Version(version.clone()), None).await.unwrap_err();
    is(&error, "store_unavailable", "read-only");
    assert_eq!(store.delete(&key("k"), &version).await.unwrap_err().code(), "store_unavailable");
    is_refused(&database.url("?schema=new"), "store_unavailable", "read-only").await;
}

/// A trigger counts how often it was asked (sequences are not rolled back) and stands in for other
/// transactions.
#[tokio::test]
async fn what_the_server_takes_back_is_sent_again_a_few_times_and_other_errors_are_not() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    database
        .run(
            "CREATE SEQUENCE public.asked; CREATE TABLE public.plan (state TEXT, until INTEGER);
             CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE plan public.plan; BEGIN
                 SELECT * INTO plan FROM public.plan;
                 IF nextval('public.asked') <= plan.until THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = plan.state;
                 END IF; RETURN NEW; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON countersign.documents FOR EACH ROW EXECUTE FUNCTION public.refuse()",
        )
        .await;
    for (number, (state, until, code, asked)) in [
        ("40001", 2, None, 3),
        ("40P01", 4, None, 5),
        ("40001", 99, Some("store_unavailable"), 5),
        ("53100", 99, Some("store_unavailable"), 1),   // disk full
        ("53200", 99, Some("store_unavailable"), 1),   // out of memory
        ("57P01", 99, Some("store_unavailable"), 1),   // shutting down
        ("0A000", 99, Some("store_misconfigured"), 1), // feature not supported
        ("42601", 99, Some("store_misconfigured"), 1), // syntax error
        ("42883", 99, Some("store_misconfigured"), 1), // undefined function
        ("26000", 99, Some("store_misconfigured"), 1), // a pooler has lent the connection to another
        ("08P01", 99, Some("store_misconfigured"), 1), // protocol violation
        ("XX001", 99, Some("store_corrupt"), 1),
        ("42501", 99, Some("store_denied"), 1),
    ]
    .into_iter()
    .enumerate()
    {
        database
            .run(&format!(
                "DELETE FROM public.plan; INSERT INTO public.plan VALUES ('{state}', {until}); \
                 ALTER SEQUENCE public.asked RESTART"
            ))
            .await;
        let put = store.put(&key(&format!("k/{number}")), b"x", Expect::Absent, None).await;
        assert_eq!(put.as_ref().err().map(StoreError::code), code, "{state}: {put:?}");
        assert_eq!(database.number("SELECT last_value FROM public.asked").await, asked, "{state}");
    }
}

#[tokio::test]
async fn a_row_that_somebody_keeps_locked_is_unavailable_in_time_and_comes_back() {
    use sqlx::Connection;
    let database = cluster::database().await;
    let store = open_impatiently(&database).await.unwrap();
    let version = store.put(&key("k"), b"old", Expect::Absent, None).await.unwrap();
    let mut other = database.connection().await;
    let mut holding = other.begin().await.unwrap();
    sqlx::raw_sql("SELECT * FROM countersign.documents FOR UPDATE").execute(&mut *holding).await.unwrap();

    let start = Instant::now();
    let put = store.put(&key("k"), b"new", Expect::Version(version.clone()), None).await.unwrap_err();
    is(&put, "store_unavailable", "took too long");
    assert_eq!(store.delete(&key("k"), &version).await.unwrap_err().code(), "store_unavailable");
    assert!(start.elapsed() < cluster::GENEROUS / 2);
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"old", "reading does not wait");
    holding.rollback().await.unwrap();
    store.put(&key("k"), b"new", Expect::Version(version), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answering_is_unavailable_in_time_and_comes_back() {
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let store = Arc::new(open_impatiently(&database).await.unwrap());
    let version = store.put(&key("k"), b"old", Expect::Absent, None).await.unwrap();

    cluster.tell("freeze");
    let start = Instant::now();
    let put = store.put(&key("k"), b"new", Expect::Version(version.clone()), None).await.unwrap_err();
    is(&put, "store_unavailable", "did not answer in time"); // 3 s and one second more
    is(&store.get(&key("k")).await.unwrap_err(), "store_unavailable", "no connection within");
    assert!(start.elapsed() < cluster::GENEROUS / 2, "{:?}", start.elapsed());
    // Ten that want to use four connections: those that get none do not wait forever either.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.get(&key("k")).await.map(|_| ()) });
    }
    for outcome in tasks.join_all().await {
        assert_eq!(outcome.unwrap_err().code(), "store_unavailable");
    }
    assert!(start.elapsed() < cluster::GENEROUS, "{:?}", start.elapsed());
    assert_eq!(open_impatiently(&database).await.unwrap_err().code(), "store_unavailable");

    cluster.tell("thaw");
    // The put arrived and nobody saw its answer. Whichever it was, a compare-and-set finds out.
    drop(database.connection().await);
    let found = store.get(&key("k")).await.unwrap().unwrap();
    assert!(found.bytes == b"new" || found.version == version);
    store.put(&key("k"), b"newer", Expect::Version(found.version), None).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_stopped_is_unavailable_at_once_and_comes_back_by_itself() {
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let store = database.open().await.unwrap();
    let version = store.put(&key("k"), b"old", Expect::Absent, None).await.unwrap();
    cluster.tell("stop");
    let start = Instant::now();
    for _ in 0..3 {
        is(&store.get(&key("k")).await.unwrap_err(), "store_unavailable", "");
        let put = store.put(&key("k"), b"new", Expect::Version(version.clone()), None).await.unwrap_err();
        is(&put, "store_unavailable", "refused");
    }
    assert!(start.elapsed() < cluster::GENEROUS / 2, "{:?}", start.elapsed());
    cluster.tell("start");
    drop(database.connection().await);
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().bytes, b"old");
    store.put(&key("k"), b"new", Expect::Version(version), None).await.unwrap();
}

#[tokio::test]
async fn connections_that_the_server_ends_are_replaced() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    let version = store.put(&key("k"), b"1", Expect::Absent, None).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'countersign' \
               AND datname = current_database()";
    database.run(end).await;
    tokio::time::sleep(Duration::from_millis(1100)).await; // idle for so long, a connection is looked at first
    store.put(&key("k"), b"2", Expect::Version(version), None).await.unwrap();
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_unavailable() {
    let database = cluster::database().await;
    let role = format!("few_{}", database.name);
    database
        .run(&format!(
            "CREATE ROLE {role} LOGIN CONNECTION LIMIT 1 PASSWORD '{PASSWORD}'; \
             GRANT CREATE ON DATABASE {} TO {role}",
            database.name
        ))
        .await;
    let url = database.url("").replace("tester", &role);
    let store = cluster::open(&url).await.unwrap();
    let error = cluster::open(&url).await.unwrap_err();
    assert_eq!(error.code(), "store_unavailable", "{error}");
    assert!(error.to_string().contains("(53300)"), "{error}");
    drop(store);
}

/// The server acknowledges commits before they are on disk; the store's connections ask for more.
#[tokio::test]
async fn commits_are_durable_and_read_committed_whatever_the_server_is_set_to() {
    let database = cluster::database().await;
    assert_eq!(
        database
            .number("SELECT count(*) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'")
            .await,
        1
    );
    database
        .run(&format!("ALTER DATABASE {} SET default_transaction_isolation = 'serializable'", database.name))
        .await;
    let store = database.open().await.unwrap();
    // A trigger sees the settings of the connection that writes.
    database
        .run(
            "CREATE TABLE public.seen (settings TEXT);
             CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO public.seen VALUES (current_setting('synchronous_commit') || ' ' ||
                     current_setting('transaction_isolation') || ' ' || current_setting('statement_timeout'));
                 RETURN NEW; END $$;
             CREATE TRIGGER look BEFORE INSERT ON countersign.documents FOR EACH ROW EXECUTE FUNCTION public.look()",
        )
        .await;
    store.put(&key("k"), &vec![b'x'; MAX_DOCUMENT_BYTES], Expect::Absent, None).await.unwrap();
    let seen = "SELECT count(*) FROM public.seen WHERE settings = 'on read committed 2min'";
    assert_eq!(database.number(seen).await, 1);
}

#[tokio::test]
async fn debug_shows_where_a_store_is_and_not_as_whom() {
    let database = cluster::database().await;
    let store = database.open().await.unwrap();
    let shown = format!("{store:?}");
    assert!(shown.contains(&format!("postgres://***@127.0.0.1:{}", database.cluster.port())), "{shown}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("tester"), "{shown}");
}
