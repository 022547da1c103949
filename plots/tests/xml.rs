//! Just enough of XML to tell whether a picture is well-formed and what is written in it.

/// Panics unless every tag of `svg` is closed in order, every attribute is quoted, no bare `&`
/// occurs, and no number failed to be one.
pub(crate) fn check(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        check_text(&rest[..at]);
        let end = rest[at..]
            .find('>')
            .map(|end| at + end)
            .expect("a tag ends");
        let tag = &rest[at + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "tags close in order");
        } else {
            let name = tag.split([' ', '/']).next().unwrap_or("");
            let attributes = &tag[name.len()..];
            assert_eq!(
                attributes.matches('"').count() % 2,
                0,
                "quotes pair up: {tag}"
            );
            check_text(attributes);
            for value in attributes.split('"').skip(1).step_by(2) {
                assert!(
                    !value.contains("NaN") || is_name(attributes, value),
                    "{tag}"
                );
            }
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "unclosed {open:?}");
}

/// A series may well be called NaN.
fn is_name(attributes: &str, value: &str) -> bool {
    attributes.contains(&format!("aria-label=\"{value}\""))
}

fn check_text(text: &str) {
    for (at, _) in text.match_indices('&') {
        let entity = &text[at..];
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        assert!(
            known.iter().any(|known| entity.starts_with(known)),
            "bare & in {text:?}"
        );
    }
}

/// The number in attribute `name` of each `<text>` of `svg`.
pub(crate) fn text_places(svg: &str, name: &str) -> Vec<f64> {
    let tags = svg.split("<text ").skip(1);
    let value = |tag: &str| {
        let from = tag
            .find(&format!("{name}=\""))
            .map(|at| at + name.len() + 2)?;
        tag[from..].split('"').next()?.parse().ok()
    };
    tags.map(|tag| value(tag).expect("a text has a place"))
        .collect()
}

/// The size of the picture, from its root.
pub(crate) fn size(svg: &str) -> (f64, f64) {
    let number = |name: &str| {
        let from = svg.find(name).expect("the root has a size") + name.len();
        svg[from..]
            .split('"')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number")
    };
    (number(" width=\""), number(" height=\""))
}
