//! A field path that grows and shrinks while a tree is walked, without an allocation a step.

/// `spec.disks[0].labels[a/b]`; empty at the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldPath {
    text: String,
}

/// Where a path was before a step; give it back to [`FieldPath::reset`].
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl FieldPath {
    pub fn new(start: &str) -> Self {
        Self { text: start.to_owned() }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A named field: `.name`, without the dot at the root.
    pub fn field(&mut self, name: &str) -> Mark {
        let mark = Mark(self.text.len());
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(name);
        mark
    }

    /// An item of a list: `[3]`.
    pub fn index(&mut self, index: usize) -> Mark {
        use std::fmt::Write as _;
        let mark = Mark(self.text.len());
        let _ = write!(self.text, "[{index}]");
        mark
    }

    /// An entry of a map: `[key]`.
    pub fn key(&mut self, key: &str) -> Mark {
        let mark = Mark(self.text.len());
        self.text.push('[');
        self.text.push_str(key);
        self.text.push(']');
        mark
    }

    /// Text that is appended to the path unchanged.
    pub fn raw(&mut self, text: &str) -> Mark {
        let mark = Mark(self.text.len());
        self.text.push_str(text);
        mark
    }

    pub fn reset(&mut self, mark: Mark) {
        self.text.truncate(mark.0);
    }

    /// The path of a field below, as text.
    pub fn child(&self, name: &str) -> String {
        if self.text.is_empty() { name.to_owned() } else { format!("{}.{name}", self.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_back_to_their_mark() {
        let mut path = FieldPath::default();
        path.field("spec");
        path.field("disks");
        let item = path.index(2);
        path.field("labels");
        path.key("a/b");
        assert_eq!(path.as_str(), "spec.disks[2].labels[a/b]");
        path.reset(item);
        assert_eq!(path.as_str(), "spec.disks");
        assert_eq!(path.child("x"), "spec.disks.x");
    }
}
