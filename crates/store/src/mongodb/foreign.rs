//! Collections of other programs, read and never written: what `countersign keys import --mongodb`
//! takes keys from.
//!
//! Documents come as JSON texts with strings, truth values, numbers, arrays and objects as they
//! are. An ObjectId is `{"$oid": …}`, and what else JSON has not (dates, bytes) becomes
//! `{"$bson": TYPE}`: nothing that could be taken for the text of a key. The number of documents
//! and their size are capped. Documents are asked for and nothing else.

use std::collections::BTreeMap;

use ::mongodb::{
    Collection, Database,
    bson::{Bson, Document, doc},
};

use super::{
    config::MongoConfig,
    connect::{Connection, Failed},
    error,
};
use crate::StoreError;

/// How much of a collection is read at most.
#[derive(Debug, Clone, Copy)]
pub struct ForeignLimits {
    /// Documents; one more is refused.
    pub documents: usize,
    /// Bytes of JSON in all.
    pub bytes: usize,
}

/// The documents of a collection as JSON, in the order of their `_id`. They may be secret: wipe
/// them.
///
/// # Errors
///
/// As [`open_existing`](crate::open_existing); `Misconfigured` when there is more than `limits`
/// allow.
pub async fn read_foreign_collection(
    config: MongoConfig,
    collection: &str,
    limits: ForeignLimits,
) -> Result<Vec<String>, StoreError> {
    let connection = Connection::new(config).await?;
    let place = &connection.config.place;
    if collection.is_empty() || collection.contains(['\0', '$']) {
        return Err(error::misconfigured(place, "a collection has a name, without `$`"));
    }
    let failed = |failed: Failed| error::failed(place, &failed);
    let patience = connection.config.operation_timeout;
    let most = i64::try_from(limits.documents).unwrap_or(i64::MAX).saturating_add(1);
    // In small batches: one document of another program may be 16 MB long.
    let found = async |database: Database| {
        let documents: Collection<Document> = database.collection(collection);
        documents.find(doc! {}).sort(doc! { "_id": 1 }).limit(most).batch_size(16).max_time(patience).await
    };
    let mut cursor = connection.wait(found).await.map_err(failed)?;
    let (mut texts, mut bytes) = (Vec::new(), 0_usize);
    while connection.wait(|_| cursor.advance()).await.map_err(failed)? {
        bytes = bytes.saturating_add(cursor.current().as_bytes().len());
        if texts.len() == limits.documents || bytes > limits.bytes {
            let ForeignLimits { documents, bytes } = limits;
            return Err(error::misconfigured(
                place,
                &format!(
                    "the collection {collection:?} has more than {documents} documents or {bytes} bytes"
                ),
            ));
        }
        let found = cursor.deserialize_current().map_err(|_| error::foreign(place, "it is not BSON"))?;
        let mut text = Vec::with_capacity(8 * 1024);
        let written = object(&mut text, &found).ok().and_then(|()| String::from_utf8(text).ok());
        texts.push(written.ok_or_else(|| error::foreign(place, "it cannot be said in JSON"))?);
    }
    Ok(texts)
}

/// By hand but for the texts, because a `serde_json::Value` would leave copies of a key behind that
/// nobody wipes.
fn object(out: &mut Vec<u8>, document: &Document) -> serde_json::Result<()> {
    out.push(b'{');
    for (index, (name, value)) in document.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        json(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

fn json(out: &mut Vec<u8>, value: &Bson) -> serde_json::Result<()> {
    match value {
        Bson::String(text) => serde_json::to_writer(out, text),
        Bson::Boolean(truth) => serde_json::to_writer(out, truth),
        Bson::Int32(number) => serde_json::to_writer(out, number),
        Bson::Int64(number) => serde_json::to_writer(out, number),
        Bson::Null => serde_json::to_writer(out, &()),
        Bson::Document(document) => object(out, document),
        Bson::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json(out, value)?;
            }
            out.push(b']');
            Ok(())
        }
        Bson::ObjectId(id) => special(out, "$oid", &id.to_hex()),
        other => special(out, "$bson", &format!("{:?}", other.element_type())),
    }
}

fn special(out: &mut Vec<u8>, name: &str, value: &str) -> serde_json::Result<()> {
    serde_json::to_writer(out, &BTreeMap::from([(name, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::mongodb::bson::{DateTime, oid::ObjectId};

    #[test]
    fn documents_become_json_in_which_only_texts_are_texts() {
        let document = doc! {
            "_id": ObjectId::from_bytes([1; 12]), "kid": "a\"b\\c\n\u{1}é", "ok": true, "n": 7_i32, "m": 5_000_000_000_i64,
            "at": DateTime::from_millis(0), "none": null, "list": ["sign", { "x": 1.5 }], "re$": {},
        };
        let mut text = Vec::new();
        object(&mut text, &document).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"_id\":{\"$oid\":\"010101010101010101010101\"},\"kid\":\"a\\\"b\\\\c\\n\\u0001é\",\"ok\":true,\"n\":7,\"m\":5000000000,\
             \"at\":{\"$bson\":\"DateTime\"},\"none\":null,\"list\":[\"sign\",{\"x\":{\"$bson\":\"Double\"}}],\"re$\":{}}"
        );
    }
}
