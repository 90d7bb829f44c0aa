//! Tokens as their author would have written them. `TokenStream::to_string` puts spaces where nobody would, and its output is
//! what people read in `cargo burla inspect`.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Writes type and parameter tokens on one line: `(my_input: Vec<Option<i64>>) -> i64`.
pub(crate) fn render(tokens: TokenStream) -> String {
    let mut text = String::new();
    write(tokens, &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    let mut previous_is_word = false;
    // Whether the last punctuation said that another follows it without a space, as the `-` of `->` does.
    let mut joint = false;
    let mut after_dash = false;
    for token in tokens {
        let is_word = matches!(token, TokenTree::Ident(_) | TokenTree::Literal(_));
        if is_word && previous_is_word {
            text.push(' ');
        }
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => (" { ", " }"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => {
                let space_before =
                    matches!(punct.as_char(), '+' | '=') || (punct.as_char() == '-' && punct.spacing() == Spacing::Joint);
                if space_before && !joint {
                    text.push(' ');
                }
                text.push(punct.as_char());
                let arrow_ends = punct.as_char() == '>' && after_dash;
                let type_follows = punct.as_char() == ':' && punct.spacing() == Spacing::Alone && !joint;
                if matches!(punct.as_char(), ',' | ';' | '+' | '=') || arrow_ends || type_follows {
                    text.push(' ');
                }
                after_dash = punct.as_char() == '-';
                joint = punct.spacing() == Spacing::Joint && punct.as_char() != '\'';
                previous_is_word = false;
                continue;
            }
            word => text.push_str(&word.to_string()),
        }
        (joint, after_dash) = (false, false);
        previous_is_word = is_word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_read_as_written() {
        for text in [
            "(my_input: i64) -> i64",
            "(a: Vec<Option<String>>, b: [u8; 4]) -> Result<(), Box<dyn Error + Send>>",
            "(mut x: std::collections::HashMap<String, f64>)",
            "()",
        ] {
            assert_eq!(render(text.parse().unwrap()), text);
        }
    }
}
