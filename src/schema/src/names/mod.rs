//! Validation of names, labels and metadata, with the error texts of Kubernetes.

mod label;
mod meta;
mod name;

pub use label::{label_key, label_value};
pub(crate) use meta::validate_embedded_meta;
pub use meta::{validate_object_meta, validate_object_meta_update};
pub use name::{
    GENERATED_ALPHABET, NameRule, dns1035_label, dns1123_label, dns1123_subdomain, generate_name, path_segment,
};

/// Bytes that all annotations of an object may take together.
pub const MAX_ANNOTATIONS_BYTES: usize = 256 * 1024;

/// `must … (e.g. 'a', or 'b', regex used for validation is 'r')`.
fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    let mut text = format!("{message} (e.g. ");
    for (i, example) in examples.iter().enumerate() {
        if i > 0 {
            text.push_str(" or ");
        }
        text.push('\'');
        text.push_str(example);
        text.push_str("', ");
    }
    text.push_str("regex used for validation is '");
    text.push_str(regex);
    text.push_str("')");
    text
}
