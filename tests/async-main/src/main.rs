//! Awaits a job beside other work, under an async runtime of its own.

use async_main::multiplies;
use burla::remote_parallel_map;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the test reads it")]
async fn main() -> burla::Result<()> {
    let numbers: Vec<i64> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    let elsewhere = tokio::spawn(async { "meanwhile" });
    let outputs = remote_parallel_map(multiplies, numbers).await?;
    println!("{outputs:?} {}", elsewhere.await.unwrap_or("never"));
    Ok(())
}
