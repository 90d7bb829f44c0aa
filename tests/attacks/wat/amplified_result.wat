;; Fails with 131,072 causes that are all the same megabyte of its memory: two megabytes in the guest, 128 GiB for a host that
;; copies each. The host gives up long before that, and the call ends at one of its limits.
(core module $guest
  (memory (export "memory") 33)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "call") (param i32 i32 i32 i32) (result i32)
    (local $cause i32)
    ;; From the second megabyte on: text and length of each cause. The first megabyte is zeros, which are a text.
    (loop $causes
      (i32.store offset=0x100000 (local.get $cause) (i32.const 0x10000))
      (i32.store offset=0x100004 (local.get $cause) (i32.const 0x100000))
      (br_if $causes (i32.lt_u (local.tee $cause (i32.add (local.get $cause) (i32.const 8))) (i32.const 0x100000))))
    ;; An error, and of errors a failure: its message is empty, its causes are those.
    (i32.store (i32.const 0) (i32.const 1))
    (i32.store (i32.const 4) (i32.const 0))
    (i32.store (i32.const 8) (i32.const 512))
    (i32.store (i32.const 12) (i32.const 0))
    (i32.store (i32.const 16) (i32.const 0x100000))
    (i32.store (i32.const 20) (i32.const 0x20000))
    (i32.const 0)))
