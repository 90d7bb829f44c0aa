//! How long a start takes: run alone, with `cargo test -p burla-scheduler --release store::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use burla_ledger::FileLedger;

use super::*;

/// The inputs of the job, half of which have an outcome.
const INPUTS: u64 = 5_000_000;

/// As many as gather while an append is under way.
const INPUTS_TOGETHER: usize = 1000;
const OUTCOMES_TOGETHER: usize = 200;

#[tokio::test]
#[ignore = "measures"]
async fn a_job_of_five_million_inputs_is_restored_in_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let config = Disk::new().config;
    let open = || async {
        let ledger = FileLedger::open(folder.path().join("ledger")).unwrap();
        let blobs = Blobs::files(&folder.path().join("blobs")).unwrap();
        Store::open(Arc::new(ledger), blobs, config.clone()).await.unwrap()
    };
    let (store, mut writer, _) = open().await;
    let began = Instant::now();
    store.open_job(id(1), options("large"));
    for first in (0..INPUTS).step_by(INPUTS_TOGETHER) {
        store.add_inputs(id(1), first, vec![Bytes::from_static(b"0123456789"); INPUTS_TOGETHER]);
        assert!(writer.write().await.unwrap());
    }
    println!("{INPUTS} inputs written in {:?}", began.elapsed());
    let began = Instant::now();
    for first in (0..INPUTS / 2).step_by(OUTCOMES_TOGETHER) {
        let output = |index| v1::CallEvent { event: Some(Event::Done(Bytes::from_static(b"0123456789"))), ..done(index).0 };
        let outcomes = (first..first + OUTCOMES_TOGETHER as u64).map(|index| (output(index * 2), Some("a".into())));
        assert!(store.add_outcomes(id(1), outcomes.collect()).dropped.is_empty());
        assert!(writer.write().await.unwrap());
    }
    println!("{} outcomes written in {:?}", INPUTS / 2, began.elapsed());
    drop((store, writer));

    let began = Instant::now();
    let (store, _writer, restored) = open().await;
    let elapsed = began.elapsed();
    println!("restored in {elapsed:?}, from {} bytes", store.bytes_kept());
    assert_eq!((restored[0].inputs, restored[0].ended.len()), (INPUTS, INPUTS / 2));
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
    let began = Instant::now();
    let mut from = 0;
    while let Some((last, _)) = store.read_inputs(id(1), from, 1 << 20).await.unwrap().last() {
        from = last + 1;
    }
    println!("all inputs read in {:?}", began.elapsed());
    assert_eq!(from, INPUTS);
}
