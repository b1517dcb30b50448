//! Where a JSON message ends.
//!
//! A message may come in a million pieces. It is not read again with each of them, but when it is whole: then every byte
//! is looked at twice, however they come.

/// Looks for the end of the first message.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Bytes that it has looked at.
    seen: usize,
    /// Brackets and braces that are open.
    depth: usize,
    text: Text,
}

/// Whether the next byte is in a string.
#[derive(Debug, Default)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

impl End {
    /// Whether the message in these bytes, of which those from before are the beginning, is whole, or is none: one of a
    /// kind that has no end of its own, such as a number, is to be read at once.
    pub(super) fn is_in(&mut self, bytes: &[u8]) -> bool {
        while let Some(byte) = bytes.get(self.seen) {
            self.seen += 1;
            match (&self.text, byte) {
                (Text::Escaped, _) | (Text::Outside, b'"') => self.text = Text::Inside,
                (Text::Inside, b'\\') => self.text = Text::Escaped,
                (Text::Inside, b'"') => {
                    self.text = Text::Outside;
                    if self.depth == 0 {
                        return true;
                    }
                }
                (Text::Outside, b'{' | b'[') => self.depth += 1,
                (Text::Outside, b'}' | b']') if self.depth > 1 => self.depth -= 1,
                (Text::Outside, b'}' | b']') => return true,
                (Text::Outside, byte) if self.depth == 0 && !byte.is_ascii_whitespace() => return true,
                (Text::Inside | Text::Outside, _) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_where_it_is_whatever_the_pieces() {
        for (text, end) in [
            (r#"{"a":[{},"}]\"",1]} {"#, 19),
            ("  [[],{}] ", 9),
            (r#""a\\" "#, 5),
            ("5", 1),
            (" null", 2),
            ("}", 1),
            ("{]x", 2),
        ] {
            for start in 0..end {
                let mut found = End::default();
                assert!(!found.is_in(&text.as_bytes()[..start]), "{text} {start}");
                assert!(found.is_in(text.as_bytes()), "{text} {start}");
                assert_eq!(found.seen, end, "{text} {start}");
            }
        }
        for text in ["", "  ", "{\"a\":", "[1,2", "\"a\\\"", "{{{}"] {
            assert!(!End::default().is_in(text.as_bytes()), "{text}");
        }
    }
}
