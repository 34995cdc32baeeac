//! Holds the content format to the committed vectors: a change of any of them breaks every store there is.
//!
//! After a deliberate change: `cargo run -p tarn-proto --example vectors > proto/tests/vectors/vectors.json`.
#![allow(clippy::unwrap_used)]

mod compute;

use serde_json::Value;
use tarn_proto::chunk::{ContentKey, decode};

fn committed() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn ids_cuts_raw_forms_and_manifests_are_as_committed() {
    let (computed, committed) = (compute::compute(), committed());
    for part in ["about", "ids", "cuts", "raw_forms", "manifests"] {
        assert_eq!(computed[part], committed[part], "{part}");
    }
}

#[test]
fn committed_compressed_forms_still_decode() {
    let committed = committed();
    let forms = committed["compressed_forms"].as_array().unwrap();
    assert_eq!(forms.len(), 3);
    for form in forms {
        let plain = compute::ramp(form["seed"].as_u64().unwrap(), form["len"].as_u64().unwrap() as usize);
        let stored = unhex(form["stored"].as_str().unwrap());
        let id = form["id"].as_str().unwrap().parse().unwrap();
        assert!(stored.len() < plain.len() / 2);
        assert!(decode(&ContentKey::Ordinary, id, &stored).unwrap() == plain);
    }
}
