//! Text that is safe to show: a log line cannot be forged, and a terminal that shows it does nothing.

/// Cuts `text` after `max_bytes` and escapes what a terminal would act on or hide: control characters
/// (C0, DEL, C1), line and paragraph separators, zero-width and bidirectional marks (CWE-117, CWE-150).
pub(super) fn plain_text(text: &str, max_bytes: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(max_bytes));
    for (at, character) in text.char_indices() {
        if at + character.len_utf8() > max_bytes {
            plain.push('…');
            break;
        }
        if is_hostile(character) {
            plain.extend(character.escape_unicode());
        } else {
            plain.push(character);
        }
    }
    plain
}

fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_stays() {
        assert_eq!(plain_text("Pumpe „7“ läuft", 256), "Pumpe „7“ läuft");
    }

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        assert_eq!(
            plain_text("a\r\nb\u{1b}[2J\u{7}\u{9b}\u{7f}\u{202e}c", 256),
            "a\\u{d}\\u{a}b\\u{1b}[2J\\u{7}\\u{9b}\\u{7f}\\u{202e}c"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(plain_text("äää", 5), "ää…");
        assert_eq!(plain_text("äää", 6), "äää");
    }
}
