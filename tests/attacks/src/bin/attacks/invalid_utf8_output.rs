//! Prints bytes that are no text, and bytes that would change a terminal. The call is done: whoever shows them decides what
//! becomes of them.

use std::io::{self, Write};

#[burla::function]
fn attack() -> io::Result<()> {
    let lines: [&[u8]; 8] = [
        b"\xff\xfe\xfd\n",
        b"half a character: \xe2\x82\n",
        b"overlong: \xc0\xaf\xe0\x80\xaf\n",
        b"a surrogate: \xed\xa0\x80\n",
        b"zero bytes: \0\0\0\n",
        b"\x1b]0;another title\x07\x1b[2J\x1b[31m\x1b[1000A\n",
        b"overwritten\rby this\x08\x08\x08\n",
        b"no newline \x9b2J",
    ];
    for line in lines {
        io::stdout().write_all(line)?;
        io::stderr().write_all(line)?;
    }
    io::stdout().flush()
}
