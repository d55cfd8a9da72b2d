//! Fetching keys for `countersign verify --jwks URL` and `--issuer URL`, with the verifier's own fetcher: https, or http
//! on loopback; no redirects; capped in size and time; certificates checked against the system's roots.

use crate::failure::{Outcome, refused, usage};
use countersign_verifier::{Fetch, FetchLimits, HttpsFetch, KeyUrl, MAX_KEY_BYTES};

/// Whether a text is meant as a URL and not as a file name.
pub(crate) fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// The body at `url`.
pub(crate) async fn get(url: &str) -> Outcome<Vec<u8>> {
    let parsed = KeyUrl::parse(url).map_err(|why| usage(format!("{url}: {why}")))?;
    let fetch = HttpsFetch::new(FetchLimits { max_bytes: MAX_KEY_BYTES, ..FetchLimits::default() });
    let fetched =
        fetch.fetch(&parsed).await.map_err(|why| refused("keys_unavailable", format!("{url}: {why}")))?;
    Ok(fetched.body.to_vec())
}
