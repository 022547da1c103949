//! What every test that ends with a journal asserts of it.

use conductor_core::journal::Auditor;

/// Has a whole journal decided again by the core's auditor: every decision must be the same and the last line must be
/// there; its orders must be as many as were carried out, by the driver's own count, and as many as it gave to the
/// journal.
pub(crate) fn audit<'a>(lines: impl IntoIterator<Item = &'a str>, executed: u64, journaled: u64) {
    let mut lines = lines.into_iter();
    let header = lines.next().expect("a header");
    let mut auditor = Auditor::new(header.as_bytes(), None).expect("a header");
    let mut orders = 0;
    for line in lines {
        if let Err(error) = auditor.line(line.as_bytes()) {
            panic!("{error}");
        }
        let step: serde_json::Value = serde_json::from_str(line).expect("it was audited");
        orders += step["actions"].as_array().map_or(0, Vec::len) as u64;
    }
    assert!(auditor.finish().complete, "the last line is there");
    assert_eq!(
        (executed, journaled),
        (orders, orders),
        "executed, journaled"
    );
}
