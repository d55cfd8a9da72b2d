//! Collections of other programs, read and never written: what `countersign keys import --mongodb` takes keys from.
//!
//! Documents come as JSON texts with strings, truth values, numbers, arrays and objects as they are. An ObjectId is
//! `{"$oid": …}`, and what else JSON has not (dates, bytes) becomes `{"$bson": TYPE}`: nothing that could be taken for the
//! text of a key. The number of documents and their size are capped. Documents are asked for and nothing else.

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

/// The documents of a collection as JSON, in the order of their `_id`. They may be secret: wipe them.
///
/// # Errors
///
/// As [`MongoStore::open`](super::MongoStore::open); `Misconfigured` when there is more than `limits` allow.
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
        let found = cursor.deserialize_current().map_err(|_| error::foreign(place, "it is no BSON"))?;
        let mut text = String::with_capacity(8 * 1024);
        object(&mut text, &found);
        texts.push(text);
    }
    Ok(texts)
}

fn object(out: &mut String, document: &Document) {
    out.push('{');
    for (index, (name, value)) in document.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        string(out, name);
        out.push(':');
        json(out, value);
    }
    out.push('}');
}

fn json(out: &mut String, value: &Bson) {
    match value {
        Bson::String(text) => string(out, text),
        Bson::Boolean(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Bson::Int32(number) => out.push_str(&number.to_string()),
        Bson::Int64(number) => out.push_str(&number.to_string()),
        Bson::Null => out.push_str("null"),
        Bson::Document(document) => object(out, document),
        Bson::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                json(out, value);
            }
            out.push(']');
        }
        Bson::ObjectId(id) => {
            out.push_str("{\"$oid\":");
            string(out, &id.to_hex());
            out.push('}');
        }
        other => {
            out.push_str("{\"$bson\":");
            string(out, &format!("{:?}", other.element_type()));
            out.push('}');
        }
    }
}

/// RFC 8259 §7.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
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
        let mut text = String::new();
        object(&mut text, &document);
        assert_eq!(
            text,
            "{\"_id\":{\"$oid\":\"010101010101010101010101\"},\"kid\":\"a\\\"b\\\\c\\n\\u0001é\",\"ok\":true,\"n\":7,\"m\":5000000000,\
             \"at\":{\"$bson\":\"DateTime\"},\"none\":null,\"list\":[\"sign\",{\"x\":{\"$bson\":\"Double\"}}],\"re$\":{}}"
        );
    }
}
