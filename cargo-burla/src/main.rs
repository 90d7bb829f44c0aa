//! `cargo burla`: see [`cargo_burla::main`].

fn main() -> std::process::ExitCode {
    cargo_burla::main()
}
