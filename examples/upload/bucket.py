#!/usr/bin/env python3
"""Makes the bucket BUCKET at AWS_ENDPOINT_URL if it is not there, and lets the page APP send forms to it.

With the AWS CLI that is `aws s3api create-bucket` and `aws s3api put-bucket-cors`. Standard library; requests are signed
as Signature Version 4 wants it.
"""

import base64
import hashlib
import hmac
import os
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

STORAGE, BUCKET, REGION = os.environ["STORAGE"], os.environ["BUCKET"], os.environ["REGION"]
KEY_ID, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
CORS = f"""<CORSConfiguration><CORSRule><AllowedOrigin>{os.environ["APP"]}</AllowedOrigin><AllowedMethod>POST</AllowedMethod>
<AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>"""


def put(query="", body=b""):
    path, at = f"/{BUCKET}", time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {"host": urlsplit(STORAGE).netloc, "x-amz-content-sha256": hashlib.sha256(body).hexdigest(), "x-amz-date": at}
    if body:
        headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"PUT\n{path}\n{query}\n{lines}\n{names}\n{headers['x-amz-content-sha256']}"
    scope = f"{at[:8]}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    url = f"{STORAGE}{path}" + (f"?{query}" if query else "")
    with urllib.request.urlopen(urllib.request.Request(url, body or None, headers, method="PUT"), timeout=30):
        pass


try:
    try:
        put()
    except urllib.error.HTTPError as why:
        # There already; whose it is says the next request.
        if why.code != 409:
            raise
    put("cors=", CORS.encode())
except urllib.error.HTTPError as why:
    sys.exit(f"bucket.py: {STORAGE} does not let us make the bucket {BUCKET}: {why.code} {why.reason}")
except OSError as why:
    sys.exit(f"bucket.py: S3 at {STORAGE} cannot be reached: {getattr(why, 'reason', why)}")
