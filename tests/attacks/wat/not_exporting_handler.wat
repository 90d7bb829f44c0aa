;; Is a component, and exports a function, but none that a node could call. The scheduler does not take it in.
(component
  (core module $guest (func (export "run")))
  (core instance $instance (instantiate $guest))
  (func $run (canon lift (core func $instance "run")))
  (export "run" (func $run)))
