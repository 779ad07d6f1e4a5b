import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Shrinker } from '../../../src/cli/shrink.ts'

const MIB = 1024 * 1024

function shrinker(total: number, used = total) {
  const state = { busy: 0, used: used * MIB, total: total * MIB, collected: 0 }
  const process = {
    busy: () => state.busy,
    heap: () => state,
    collect() {
      state.collected++
      state.total = 30 * MIB
    },
  }
  return { state, shrinker: new Shrinker(process) }
}

test('memory is given back after two quiet seconds, once', () => {
  const { state, shrinker: one } = shrinker(60)
  state.busy = 0.5
  for (let i = 0; i < 5; i++) assert.equal(one.tick(), false)
  state.busy = 0.01
  assert.deepEqual([one.tick(), one.tick(), one.tick(), one.tick()], [false, true, false, false])
  state.total = 37 * MIB
  assert.equal(one.tick(), false, 'too little has come since')
  state.total = 39 * MIB
  assert.equal(one.tick(), true)
  assert.equal(state.collected, 2)
})

test('work starts the count of quiet seconds anew', () => {
  const { state, shrinker: one } = shrinker(60)
  for (const busy of [0, 0.2, 0, 0.06, 0]) {
    state.busy = busy
    assert.equal(one.tick(), false)
  }
  assert.equal(one.tick(), true)
})

test('a large heap is left to V8: collecting it would keep people waiting', () => {
  const { shrinker: one } = shrinker(400, 300)
  for (let i = 0; i < 5; i++) assert.equal(one.tick(), false)
})
