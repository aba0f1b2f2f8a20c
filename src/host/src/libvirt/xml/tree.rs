//! A small tree of XML elements that can be read, changed and written again without losing what it does not know.

use std::fmt::Write as _;

use quick_xml::escape::{escape, unescape};
use quick_xml::events::{BytesStart, Event};

/// The XML could not be read.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    #[error("malformed XML")]
    Malformed(#[source] quick_xml::Error),
    #[error("malformed XML: {0}")]
    Shape(&'static str),
}

/// An element: its name (with prefix), attributes in their order, and either children or text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    pub text: String,
}

impl Element {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    #[must_use]
    pub fn with(mut self, attribute: &str, value: impl ToString) -> Self {
        self.set(attribute, value);
        self
    }

    #[must_use]
    pub fn text(mut self, text: impl ToString) -> Self {
        self.text = text.to_string();
        self
    }

    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    /// Sets an attribute, in its place where it exists.
    pub fn set(&mut self, attribute: &str, value: impl ToString) {
        let value = value.to_string();
        match self.attributes.iter_mut().find(|(name, _)| name == attribute) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((attribute.to_owned(), value)),
        }
    }

    #[must_use]
    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == attribute).map(|(_, value)| value.as_str())
    }

    /// The first child of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first child of that name, made at the end where there is none.
    pub fn entry(&mut self, name: &str) -> &mut Element {
        let at = self.children.iter().position(|child| child.name == name).unwrap_or_else(|| {
            self.children.push(Element::new(name));
            self.children.len() - 1
        });
        &mut self.children[at]
    }

    /// Puts `child` in the place of the first child of its name, or at the end.
    pub fn put(&mut self, child: Element) {
        let place = self.entry(&child.name);
        *place = child;
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// An attribute of a descendant: `path` names one child after the other.
    #[must_use]
    pub fn at(&self, path: &[&str], attribute: &str) -> Option<&str> {
        let mut here = self;
        for name in path {
            here = here.find(name)?;
        }
        here.get(attribute)
    }

    /// Reads one document.
    ///
    /// # Errors
    /// When it is not well-formed, or holds no element.
    pub fn parse(xml: &str) -> Result<Self, XmlError> {
        let mut reader = quick_xml::Reader::from_str(xml);
        let mut open: Vec<Element> = Vec::new();
        loop {
            let closed = match reader.read_event().map_err(XmlError::Malformed)? {
                Event::Start(start) => {
                    open.push(element(&start)?);
                    continue;
                }
                Event::Empty(start) => element(&start)?,
                Event::End(_) => open.pop().ok_or(XmlError::Shape("an end without a start"))?,
                Event::Text(text) => {
                    if let Some(parent) = open.last_mut() {
                        parent.text.push_str(&text);
                    }
                    continue;
                }
                Event::GeneralRef(reference) => {
                    let text = unescape(&format!("&{};", &*reference))
                        .map_err(|error| XmlError::Malformed(error.into()))?
                        .into_owned();
                    if let Some(parent) = open.last_mut() {
                        parent.text.push_str(&text);
                    }
                    continue;
                }
                Event::Eof => return Err(XmlError::Shape("no whole element")),
                Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
            };
            let closed = tidy(closed);
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None => return Ok(closed),
            }
        }
    }

    /// Writes it with two spaces of indent.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        let Element { name, attributes, children, text } = self;
        let indent = depth * 2;
        write!(out, "{:indent$}<{name}", "").expect("a String takes all");
        for (attribute, value) in attributes {
            write!(out, " {attribute}='{}'", escape(value)).expect("a String takes all");
        }
        if !children.is_empty() {
            out.push_str(">\n");
            for child in children {
                child.write(out, depth + 1);
            }
            writeln!(out, "{:indent$}</{name}>", "").expect("a String takes all");
        } else if !text.is_empty() {
            writeln!(out, ">{}</{name}>", escape(text)).expect("a String takes all");
        } else {
            out.push_str("/>\n");
        }
    }
}

/// Space between elements is layout, not text.
fn tidy(mut element: Element) -> Element {
    if element.text.trim().is_empty() || !element.children.is_empty() {
        element.text.clear();
    }
    element
}

fn element(start: &BytesStart<'_>) -> Result<Element, XmlError> {
    let name = start.name().as_ref().to_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| XmlError::Malformed(error.into()))?;
        let value = unescape(&attribute.value).map_err(|error| XmlError::Malformed(error.into()))?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { name, attributes, children: Vec::new(), text: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let tree = Element::new("a")
            .with("x", "<'&\"")
            .child(Element::new("n:b").text("1 < 2 & 3 > 2"))
            .child(Element::new("c").child(Element::new("d")));
        assert_eq!(Element::parse(&tree.to_xml()).unwrap(), tree);
    }

    #[test]
    fn broken_documents_are_errors() {
        for xml in ["", "<a>", "</a>", "<a><b></a></b>", "<a x=y/>", "no"] {
            assert!(Element::parse(xml).is_err(), "{xml}");
        }
    }

    #[test]
    fn entry_finds_before_it_makes() {
        let mut tree = Element::parse("<a><b x='1'/><b x='2'/></a>").unwrap();
        tree.entry("b").set("x", 3);
        tree.entry("c").text = "new".into();
        assert_eq!(tree, Element::parse("<a><b x='3'/><b x='2'/><c>new</c></a>").unwrap());
    }
}
