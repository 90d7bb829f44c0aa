;; Returns a result, and computes for ever where it is told that the host has read it. The call is not over before that is, and
;; its timeout ends it.
(component
  (core module $guest
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    ;; An output of one byte, which is the number 7.
    (data (i32.const 4) "\64\00\00\00\01\00\00\00")
    (data (i32.const 0x64) "\07")
    (func (export "call") (param i32 i32 i32 i32) (result i32) (i32.const 0))
    (func (export "post-return") (param i32) (loop $forever (br $forever))))
  (core instance $instance (instantiate $guest))
  (type $failure (record (field "message" string) (field "causes" (list string))))
  (type $call-error (variant (case "failed" $failure) (case "refused" string)))
  (func $call (param "name" string) (param "input" (list u8)) (result (result (list u8) (error $call-error)))
    (canon lift
      (core func $instance "call")
      (memory (core memory $instance "memory"))
      (realloc (core func $instance "realloc"))
      (post-return (core func $instance "post-return"))))
  (instance $handler
    (export "failure" (type $failure))
    (export "call-error" (type $call-error))
    (export "call" (func $call)))
  (export "burla:function/handler@0.1.0" (instance $handler))
  (@custom "burla:functions" "{\"name\":\"post_return_spins::attack\",\"signature\":\"()\",\"doc\":\"\",\"source\":\"\"}"))
