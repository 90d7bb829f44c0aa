//! Ends its process as if all were well. The call is trapped: there is no output.

#[burla::function]
fn attack() {
    std::process::exit(0);
}
