"""Hosts of AWS by region: those that the program makes of a region's name, beside those that botocore makes.

Forms for uploads show what the one function of the program says (`countersign_aws::dns_suffix`); the store and secrets in AWS take it
from there, too.
"""

import re

import botocore.session
import pytest
from authority import authorities
from botocore.config import Config
from e2e.uploading import CLAIMS, PAGES, configuration, destination, envelope, uploader

KEYS = 'access_key_id = "AKIA"\nsecret_access_key = "env:BUCKET_SECRET"\n'


def regions():
    """Each region that botocore knows, with how host names of its partition end."""
    found = {}
    for partition in botocore.session.get_session().get_data("partitions")["partitions"]:
        names = [name for name in partition["regions"] if re.match(partition["regionRegex"], name)]
        assert names, partition["id"]
        found |= dict.fromkeys(names, partition["outputs"]["dnsSuffix"])
    return found


REGIONS = regions()


@pytest.fixture(scope="module")
def server(full_binary, tmp_path_factory):
    kinds = [destination(name, "a-bucket", None, key=name + "/{sub}/{uuid}", more=KEYS, region=name) for name in REGIONS]
    with authorities(full_binary, tmp_path_factory) as start:
        yield start(configuration(*kinds, uploader("web", "*", more=PAGES + CLAIMS), server=False), env={"BUCKET_SECRET": "a-secret"})


def test_forms_are_sent_to_where_botocore_would_send_them_in_every_region_of_every_partition(server):
    assert {"eusc-de-east-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "cn-north-1", "us-gov-west-1"} < set(REGIONS)
    session = botocore.session.get_session()
    config = Config(signature_version="s3v4", s3={"us_east_1_regional_endpoint": "regional", "addressing_style": "virtual"})
    for region, suffix in REGIONS.items():
        s3 = session.create_client("s3", region, config=config, aws_access_key_id="a", aws_secret_access_key="b")
        url = envelope(server, to=region)["url"]
        assert url == s3.generate_presigned_post("a-bucket", "k")["url"] == f"https://a-bucket.s3.{region}.{suffix}/", region
