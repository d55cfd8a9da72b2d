"""An issuer that is a bucket: what `countersign publish s3://…` writes, in which order, also beside another run, and what CloudFront is told."""

import hashlib
import json
import socket
import threading

import httpx
import jwt
import pytest
from e2e.aws import SECRET, nowhere
from e2e.program import client, free_port

DISCOVERY = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]
JWKS = "/.well-known/jwks.json"
#: All of them have the sequence number of the keyring, so that all change with it.
KEY_SETS = [JWKS, "/.well-known/jwks-rsa.json", "/public-keys"]


@pytest.fixture
def site(aws_world, s3, s3_relay):
    """A configuration whose issuer is part of a bucket that anyone may read."""
    aws_world.environment |= {"AWS_SESSION_TOKEN": ""}  # versitygw knows none; see test_session_tokens.py
    aws_world.bucket = s3.bucket()
    anyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{aws_world.bucket}/*"}
    s3.client("s3").put_bucket_policy(
        Bucket=aws_world.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [anyone]}))
    aws_world.issuer = f"{s3.url}/{aws_world.bucket}/auth"
    config = f'issuer = "{aws_world.issuer}"\n\n[rings.default]\nalgorithm = "ES256"\n'
    aws_world.configure(config + client("tests"))
    aws_world.target = f"s3://{aws_world.bucket}/auth?endpoint={s3_relay.url}"
    return aws_world


def publish(site, *more):
    return json.loads(site.done("publish", site.target, "--json", *more))


def written(report):
    return {document["path"] for document in report["documents"] if document["written"]}


def puts(s3_relay):
    """The documents that were written since this was last asked, in order."""
    prefix = "/auth"
    paths = [path[path.index(prefix) + len(prefix):] for method, path, _ in s3_relay.asked if method == "PUT"]
    s3_relay.asked.clear()
    return paths


def asap(kid):
    return f"/asap/{hashlib.sha256(kid.encode()).hexdigest()}.pem"


def next_key(site):
    kid = json.loads(site.done("keys", "prepare", "--json"))["kid"]
    site.done("keys", "publish", kid)
    return kid


def test_objects_have_the_bytes_and_the_attributes_that_a_server_would_answer_with(site, s3):
    report = publish(site)
    site.done("publish", "folder")
    objects, client = s3.objects(site.bucket), s3.client("s3")
    assert {"auth" + document["path"] for document in report["documents"]} == set(objects)
    for document in report["documents"]:
        assert document["written"]
        found = client.get_object(Bucket=site.bucket, Key="auth" + document["path"])
        assert found["ContentType"] == document["content_type"] and found["CacheControl"] == document["cache_control"]
        assert found["Body"].read() == (site.folder / "folder" / document["path"].lstrip("/")).read_bytes()
    assert objects.keys() >= {"auth" + JWKS, "auth/.well-known/x509.json", "auth/public-keys"}


def test_verifiers_need_nothing_but_the_bucket(site):
    publish(site)
    assert "are what they should be" in site.done("publish", "--check")
    token = site.done("sign", "--claims", '{"sub":"alice"}').strip()
    key = jwt.PyJWKClient(site.issuer + JWKS).get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["ES256"], issuer=site.issuer, audience="api://default")
    assert claims["sub"] == "alice"
    site.done("verify", "--issuer", site.issuer, "--audience", "api://default", token)


def test_only_what_changed_is_written_and_keys_go_before_what_refers_to_them(site, s3_relay, s3):
    first = site.done("publish", site.target)
    count = len(s3.objects(site.bucket))
    assert f"{count} of {count} documents written to s3://{site.bucket}/auth?***" in first
    order = puts(s3_relay)
    assert order[-2:] == DISCOVERY and JWKS in order[:-2]
    assert not written(publish(site)) and puts(s3_relay) == []

    old = site.keys()[0]["kid"]
    new = next_key(site)
    site.fails(1, "is not what it should be", "publish", "--check")
    changed = written(publish(site))
    assert changed == {*KEY_SETS, "/.well-known/x509.json", asap(new)}
    assert sorted(puts(s3_relay)) == sorted(changed)
    site.done("publish", "--check")

    site.done("keys", "revoke", old)
    report = publish(site)
    assert report["removed"] == [asap(old)] and f"auth{asap(old)}" not in s3.objects(site.bucket)
    # Removed when nothing refers to it any more.
    methods = [method for method, _, _ in s3_relay.asked if method in ("PUT", "DELETE")]
    assert methods[-1] == "DELETE" and methods.count("DELETE") == 1
    site.done("publish", "--check")


def test_an_attribute_that_differs_is_a_change_and_objects_of_others_stay(site, s3):
    publish(site)
    client, key = s3.client("s3"), "auth" + JWKS
    body = s3.objects(site.bucket)[key]
    right = {name: client.head_object(Bucket=site.bucket, Key=key)[name] for name in ("ContentType", "CacheControl")}
    for wrong in [{"ContentType": "binary/octet-stream"}, {"CacheControl": "no-store"}]:
        client.put_object(Bucket=site.bucket, Key=key, Body=body, **right | wrong)
        assert written(publish(site)) == {JWKS}
        found = client.head_object(Bucket=site.bucket, Key=key)
        assert {name: found[name] for name in right} == right
    for name in ("auth/asap/notes.pem", "auth/asap/notes", "other/asap/" + "0" * 64 + ".pem"):
        client.put_object(Bucket=site.bucket, Key=name, Body=b"mine")
    assert publish(site)["removed"] == []


def test_a_run_that_fails_on_the_way_leaves_what_refers_to_keys_as_it_was_and_the_next_one_finishes(site, s3, s3_relay):
    denied = (403, b"<Error><Code>AccessDenied</Code></Error>")
    s3_relay.spoil = lambda method, path: denied if method == "PUT" and path.endswith("/public-keys") else None
    site.fails(78, f"the bucket s3://{site.bucket}/auth?***: access denied", "publish", site.target)
    assert not {f"auth{path}" for path in DISCOVERY} & set(s3.objects(site.bucket))
    s3_relay.spoil = lambda method, path: None
    assert written(publish(site)) >= set(DISCOVERY)
    site.done("publish", "--check")


def test_what_keeps_a_bucket_from_being_written_is_told_in_one_line(site, s3_relay):
    away = f"s3://{site.bucket}/auth?endpoint=http://127.0.0.1:{free_port()}"
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    for target, environment, code, says in [
        (site.target.replace(site.bucket, "no-such-bucket"), {}, 78, "there is no bucket `no-such-bucket`"),
        (site.target, nobody, 78, "there are no AWS credentials"),
        (away, {}, 70, "is not available"),
        (f"s3://{site.bucket}/auth?{SECRET}", {}, 78, "an option that is not known"),
        ("s3://", {}, 78, "the name of a bucket"),
    ]:
        complaint = site.fails(code, says, "publish", target, env=environment)
        assert SECRET not in complaint
    s3_relay.spoil = lambda method, path: (403, b"")
    site.fails(78, "give this role s3:GetObject", "publish", site.target)


def held_at(s3_relay, number, meanwhile):
    """Holds the run behind the relay at its change number `number` while `meanwhile` runs. Returns the changes, as they come."""
    changes = []

    def spoil(method, path):
        if method in ("PUT", "DELETE"):
            changes.append((method, path))
            if len(changes) == number:
                meanwhile()

    s3_relay.spoil = spoil
    return changes


def shown(site, s3):
    """The objects of the site, and what a run by itself would have written."""
    site.done("publish", "--replace-newer-keys", "folder")
    folder = site.folder / "folder"
    right = {f"auth/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return s3.objects(site.bucket), right


def test_a_slower_run_never_puts_older_keys_in_place_of_newer_ones(site, s3, s3_relay):
    """It is held at each of its changes in turn, while one of its keys is revoked and another run publishes that."""
    direct = f"s3://{site.bucket}/auth?endpoint={s3.url}"
    for number in range(1, 30):
        gone = next_key(site)
        site.done("publish", direct)
        site.done("keys", "revoke", gone)
        leaked = next_key(site)

        def meanwhile():
            site.done("keys", "revoke", leaked)
            site.done("publish", direct)

        changes = held_at(s3_relay, number, meanwhile)
        done = site.run("publish", site.target, "--json")
        s3_relay.unshut()
        if len(changes) < number:
            assert done.returncode == 0, done
            break
        assert done.returncode == 70 and json.loads(done.stdout)["error"] == "published_meanwhile", (number, changes, done)
        there, right = shown(site, s3)
        assert there == right, (number, changes, there.keys() ^ right.keys())
        site.done("publish", "--check")
    assert number > 6 and changes[0] == ("PUT", changes[0][1]) and changes[0][1].endswith(JWKS) and changes[-1][0] == "DELETE", changes


def test_two_runs_with_the_same_keys_do_each_others_work(site, s3, s3_relay):
    direct = f"s3://{site.bucket}/auth?endpoint={s3.url}"
    for number in range(1, 30):
        if number > 1:
            site.done("keys", "revoke", new)
        new = next_key(site)
        changes = held_at(s3_relay, number, lambda: site.done("publish", direct))
        site.done("publish", site.target)
        s3_relay.unshut()
        if len(changes) < number:
            break
        there, right = shown(site, s3)
        assert there == right, (number, changes)
    assert number > 6


def test_a_jwks_that_was_not_there_is_not_replaced_unseen(site, s3, s3_relay):
    """Of two first runs the one with older keys comes second."""
    site.done("keys", "init")

    def meanwhile():
        next_key(site)
        site.done("publish", f"s3://{site.bucket}/auth?endpoint={s3.url}")

    held_at(s3_relay, 1, meanwhile)
    done = site.run("publish", site.target)
    assert done.returncode == 70 and "was replaced by another process" in done.stderr and "run it again" in done.stderr, done
    s3_relay.unshut()
    there, right = shown(site, s3)
    assert there == right
    site.done("publish", site.target)


def test_a_service_without_conditional_writes_is_published_to_all_the_same(site, s3, s3_relay):
    def spoil(method, path):
        headers = {name.lower() for name in s3_relay.asked[-1][2]}
        if method == "PUT" and headers & {"if-match", "if-none-match"}:
            return 501, b"<Error><Code>NotImplemented</Code></Error>"

    s3_relay.spoil = spoil
    publish(site)
    next_key(site)
    assert JWKS in written(publish(site))
    there, right = shown(site, s3)
    assert there == right


def test_an_answer_that_is_lost_is_no_other_run(site, s3, s3_relay):
    lost = []

    def done(method, path, body, status):
        if method == "PUT" and path not in lost:
            lost.append(path)
            return "away"

    s3_relay.done = done
    report = publish(site)
    assert {f"auth{path}" for path in written(report)} == set(s3.objects(site.bucket)) and len(lost) == len(written(report))


@pytest.fixture
def distribution(site, ministack):
    """A CloudFront distribution, and a program that finds MiniStack by the environment."""
    site.environment |= {"AWS_ENDPOINT_URL": ministack.url}
    origin = {"Id": "site", "DomainName": f"{site.bucket}.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}
    config = {
        "CallerReference": site.bucket, "Comment": "", "Enabled": True, "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": {"TargetOriginId": "site", "ViewerProtocolPolicy": "https-only", "MinTTL": 0,
                                 "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}}},
    }
    return ministack.client("cloudfront").create_distribution(DistributionConfig=config)["Distribution"]["Id"]


def invalidated(ministack, distribution):
    """The paths of each invalidation, by its id."""
    cloudfront = ministack.client("cloudfront")
    found = cloudfront.list_invalidations(DistributionId=distribution)["InvalidationList"].get("Items", [])
    one = lambda id: cloudfront.get_invalidation(DistributionId=distribution, Id=id)["Invalidation"]
    return {entry["Id"]: sorted(one(entry["Id"])["InvalidationBatch"]["Paths"]["Items"]) for entry in found}


def test_cloudfront_is_told_exactly_what_has_changed(site, ministack, distribution, s3_relay):
    path = f"/{site.bucket}/auth"
    first = publish(site, "--cloudfront", distribution)
    every = sorted(path + document["path"] for document in first["documents"])
    assert invalidated(ministack, distribution) == {first["invalidation"]: every}

    assert publish(site, "--cloudfront", distribution, "--wait")["invalidation"] is None
    assert len(invalidated(ministack, distribution)) == 1, "nothing has changed"

    old, new = site.keys()[0]["kid"], next_key(site)
    second = publish(site, "--cloudfront", distribution, "--wait")
    changed = sorted(path + name for name in (*KEY_SETS, "/.well-known/x509.json", asap(new)))
    assert invalidated(ministack, distribution)[second["invalidation"]] == changed

    site.done("keys", "revoke", old)
    third = publish(site, "--cloudfront", distribution)
    assert path + asap(old) in invalidated(ministack, distribution)[third["invalidation"]]
    # A run that fails on the way tells what it has changed.
    next_key(site)
    denied = (403, b"<Error><Code>AccessDenied</Code></Error>")
    s3_relay.spoil = lambda method, name: denied if method == "PUT" and name.endswith("/public-keys") else None
    before = invalidated(ministack, distribution)
    done = site.run("publish", site.target, "--cloudfront", distribution)
    assert done.returncode == 78, done
    told = [paths for id, paths in invalidated(ministack, distribution).items() if id not in before]
    assert len(told) == 1 and path + JWKS in told[0] and path + "/public-keys" not in told[0]


def test_what_keeps_cloudfront_from_being_told_is_told_in_one_line(site, ministack, distribution):
    site.fails(2, "takes the id of a distribution", "publish", site.target, "--cloudfront", "E1/../x")
    site.fails(2, "--cloudfront goes with a bucket", "publish", "folder", "--cloudfront", distribution)
    done = site.run("publish", site.target, "--cloudfront", "ENOSUCH")
    assert done.returncode == 78 and "there is no distribution ENOSUCH" in done.stderr, done
    assert "aws cloudfront create-invalidation --distribution-id ENOSUCH --paths /" in done.stderr
    # What is published is published, and is told by the first run that can.
    assert site.run("publish", site.target, "--cloudfront", "ENOSUCH").returncode == 78
    path = f"/{site.bucket}/auth"
    report = publish(site, "--cloudfront", distribution)
    told = invalidated(ministack, distribution)[report["invalidation"]]
    assert {path + JWKS, path + DISCOVERY[0], path + "/asap/*"} <= set(told)
    assert publish(site, "--cloudfront", distribution)["invalidation"] is None


#: What CloudFront answers, request by request (`None`: what it would), and what becomes of it: how often it is asked, the exit code, the words.
ANSWERS = {
    "away for a moment": ([(503, "ServiceUnavailable"), (500, ""), None], 3, 0, None),
    "away": ([(503, "ServiceUnavailable")] * 9, 4, 70, "it cannot be asked: it answers ServiceUnavailable"),
    "asked too often": ([(400, "Throttling"), (429, ""), (400, "RequestTimeout"), None], 4, 0, None),
    "asked much too often": ([(400, "Throttling")] * 9, 4, 70, "does not know it yet: it was asked too often (Throttling); run `aws cloudfront"),
    "too many at work": ([(400, "TooManyInvalidationsInProgress")] * 9, 1, 70, "it refuses (TooManyInvalidationsInProgress)"),
    "may not": ([(403, "AccessDenied")] * 9, 1, 78, "may not invalidate (AccessDenied); allow cloudfront:CreateInvalidation"),
    "credentials of yesterday": ([(403, "ExpiredToken")] * 9, 1, 78, "does not accept these credentials (ExpiredToken); renew or correct them"),
    "a refusal without a reason": ([(403, "")] * 9, 1, 78, "does not accept these credentials (403 Forbidden)"),
    "another page": ([(200, "<html></html>")] * 9, 1, 70, "its answer cannot be read, and the invalidation may have been made"),
    "another path": ([(201, "<Id>../x</Id>")] * 9, 1, 70, "its answer cannot be read"),
}


@pytest.mark.parametrize("answers, asked, code, says", ANSWERS.values(), ids=ANSWERS)
def test_cloudfront_is_asked_again_where_that_may_help(site, distribution, relay, answers, asked, code, says):
    site.environment |= {"AWS_ENDPOINT_URL": relay.url}
    left = iter(answers)

    def spoil(method, path):
        if path.startswith("/2020-05-31/") and (answer := next(left)):
            status, content = answer
            done = f"<Invalidation>{content}<Status>Completed</Status></Invalidation>"
            return status, (done if status < 300 else f"<Error><Code>{content}</Code></Error>").encode()

    relay.spoil = spoil
    done = site.run("publish", site.target, "--cloudfront", distribution)
    assert done.returncode == code and (says is None or says in done.stderr), done
    assert len([path for _, path, _ in relay.asked if path.startswith("/2020-05-31/")]) == asked, relay.asked


def test_an_invalidation_whose_answer_is_lost_is_asked_for_under_the_same_reference(site, distribution, relay):
    site.environment |= {"AWS_ENDPOINT_URL": relay.url}
    bodies = []

    def done(method, path, body, status):
        if path.startswith("/2020-05-31/"):
            bodies.append(body)
            return "away" if len(bodies) < 3 else None

    relay.done = done
    assert publish(site, "--cloudfront", distribution)["invalidation"]
    assert len(bodies) == 3 and len(set(bodies)) == 1 and b"<CallerReference>countersign-" in bodies[0], bodies


def test_cloudfront_and_parameters_are_asked_through_the_proxy_of_the_environment(site):
    """The proxy refuses: what counts is that it is asked, and for which host."""
    asked = []

    def refuse(proxy):
        while True:
            try:
                connection, _ = proxy.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096).split(b"\r\n")[0].decode("latin-1"))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        thread = threading.Thread(target=refuse, args=[proxy])
        thread.start()
        try:
            site.environment |= {"AWS_ENDPOINT_URL": "", "HTTPS_PROXY": f"http://127.0.0.1:{proxy.getsockname()[1]}"}
            done = site.run("publish", site.target, "--cloudfront", "E1")
            assert done.returncode == 70 and "it cannot be asked: " in done.stderr, done
            done = site.run("keys", "list", env={"COUNTERSIGN_SEALING__KEY": "ssm:/key"})
            assert done.returncode != 0, done
            # With a proxy that is asked by TLS nothing is said before that.
            secure = site.environment["HTTPS_PROXY"].replace("http://", "https://someone:password@")
            done = site.run("publish", site.target, "--cloudfront", "E1", env={"HTTPS_PROXY": secure})
            assert done.returncode == 70 and "password" not in done.stderr, done
        finally:
            proxy.shutdown(socket.SHUT_RDWR)
            thread.join()
    plain, hello = asked[:8], asked[8:]
    assert plain == ["CONNECT cloudfront.amazonaws.com:443 HTTP/1.1"] * 4 + ["CONNECT ssm.us-east-1.amazonaws.com:443 HTTP/1.1"] * 4, asked
    assert len(hello) == 4 and all(one.startswith("\x16\x03") and "CONNECT" not in one for one in hello), asked


def test_what_could_not_be_written_hides_nothing_of_what_cloudfront_was_not_told(site, s3_relay):
    denied = (403, b"<Error><Code>AccessDenied</Code></Error>")
    s3_relay.spoil = lambda method, path: denied if method == "PUT" and path.endswith("/public-keys") else None
    done = site.run("publish", site.target, "--cloudfront", "ENOSUCH")
    assert done.returncode == 78 and "access denied" in done.stderr, done
    assert "aws cloudfront create-invalidation --distribution-id ENOSUCH --paths /" in done.stderr and JWKS in done.stderr, done


def test_what_a_killed_run_has_changed_leaves_the_caches_with_the_next(site, ministack, distribution, s3, s3_relay):
    """It is killed after each of its changes in turn, and never tells CloudFront."""
    publish(site, "--cloudfront", distribution)
    path = f"/{site.bucket}/auth"
    for number in range(1, 30):
        site.done("keys", "revoke", next_key(site))
        before, changes = invalidated(ministack, distribution), []
        run = site.spawn("publish", site.target, "--cloudfront", distribution, "--json")

        def kill(method, name, body, status):
            if method in ("PUT", "DELETE"):
                changes.append(name)
                if len(changes) == number:
                    run.kill()
                    return "away"

        s3_relay.done = kill
        ended = run.wait(60)
        s3_relay.done = lambda *_: None
        if len(changes) < number or changes[-1].endswith("/invalidation-due") and number > 1:
            break
        assert ended == -9 and invalidated(ministack, distribution) == before, (number, changes)
        report = publish(site, "--cloudfront", distribution)
        told = invalidated(ministack, distribution)[report["invalidation"]]
        assert set(told) == {path + name for name in (*KEY_SETS, "/.well-known/x509.json", *DISCOVERY, "/asap/*")}, (number, changes)
        assert not [name for name in s3.objects(site.bucket) if name.endswith("invalidation-due")]
        assert publish(site, "--cloudfront", distribution)["invalidation"] is None
    assert number > 4


def test_a_distribution_with_origin_access_control_serves_what_was_published(aws_world, ministack):
    """The bucket stays private; MiniStack's CloudFront signs what it asks of it, and the policy names the distribution."""
    bucket, cloudfront = ministack.bucket(), ministack.client("cloudfront")
    control = {"Name": bucket, "SigningProtocol": "sigv4", "SigningBehavior": "always", "OriginAccessControlOriginType": "s3"}
    control = cloudfront.create_origin_access_control(OriginAccessControlConfig=control)["OriginAccessControl"]["Id"]
    origin = {"Id": "site", "DomainName": f"{bucket}.s3.us-east-1.amazonaws.com", "OriginPath": "/public", "OriginAccessControlId": control,
              "S3OriginConfig": {"OriginAccessIdentity": ""}}
    made = cloudfront.create_distribution(DistributionConfig={
        "CallerReference": bucket, "Comment": "", "Enabled": True, "Origins": {"Quantity": 1, "Items": [origin]},
        # Not https-only, as it should be: the emulator is asked in clear text. CachePolicyId is CachingOptimized.
        "DefaultCacheBehavior": {"TargetOriginId": "site", "ViewerProtocolPolicy": "allow-all",
                                 "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6"}})["Distribution"]
    domain = made["DomainName"]
    aws_world.configure(f'issuer = "https://{domain}"\n\n[rings.default]\nalgorithm = "ES256"\n' + client("tests"))
    report = json.loads(aws_world.done("publish", f"s3://{bucket}/public", "--cloudfront", made["Id"], "--json"))
    assert len(report["documents"]) > 4 and report["invalidation"]

    def asked(path, **headers):
        return httpx.get(ministack.url + path, headers={"Host": domain} | headers)

    assert asked(JWKS).status_code == 403, "the bucket is private"
    for distribution, status in [(made["ARN"][:-1] + "?", 403), (made["ARN"], 200)]:
        reader = {"Effect": "Allow", "Principal": {"Service": "cloudfront.amazonaws.com"}, "Action": "s3:GetObject",
                  "Resource": f"arn:aws:s3:::{bucket}/*", "Condition": {"StringEquals": {"AWS:SourceArn": distribution}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [reader]})
        ministack.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
        assert asked(JWKS).status_code == status, distribution
    for document in report["documents"]:
        answer = asked(document["path"])
        assert answer.status_code == 200 and answer.headers["content-type"] == document["content_type"], answer
        assert answer.headers["cache-control"] == document["cache_control"]
        assert asked(document["path"], **{"If-None-Match": answer.headers["etag"]}).status_code == 304
    token = aws_world.done("sign", "--claims", '{"sub":"alice"}').strip()
    key = jwt.PyJWKSet.from_dict(asked(JWKS).json())[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["ES256"], issuer=f"https://{domain}", audience="api://default")["sub"] == "alice"


def test_a_build_without_cloudfront_says_which_one_has_it(world):
    world.configure()
    assert world.run("publish", "s3://bucket/site", "--cloudfront", "E1", env=nowhere()).returncode == 78
