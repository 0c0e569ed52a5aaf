import { expect, test } from 'vitest';
import type { ConsoleDevice } from '../../devices/virtio/console/device.ts';
import { packState, unpackState } from './machine-state.ts';
import type { FromThread } from './messages.ts';
import { Ports } from './ports.ts';

/** A device that takes all input of the ports that its guest has open, and notes what it is told. */
function device(guestOpen: readonly number[]) {
  const told: string[] = [];
  const open = new Set(guestOpen);
  const stub = {
    addPort: () => {},
    setHostOpen: (index: number, isOpen: boolean) => told.push(`${index} ${isOpen ? 'open' : 'closed'}`),
    endInput: (index: number) => told.push(`${index} end`),
    offerInput: (index: number, bytes: Uint8Array) => (open.has(index) ? bytes.length : 0),
    portIsReady: () => true,
    guestIsOpen: (index: number) => open.has(index),
    resume: () => {},
  };
  return { told, open, stub: stub as unknown as ConsoleDevice };
}

const lines = (messages: readonly FromThread[]): string[] =>
  messages.map((message) => ('port' in message ? `${message.kind} ${message.port}` : message.kind));

test('a fork’s ports: what was in use swallows output until the guest closes it, and then serves', () => {
  const parent = new Ports(1, () => {});
  parent.attach(device([]).stub);
  parent.open(1, 7);
  parent.open(2, 7);
  parent.open(3, 7);
  parent.close(3);
  parent.input(1, Uint8Array.of(10));
  const saved = parent.save();
  expect(saved).toEqual({ inUse: [2], agentInput: [Uint8Array.of(10)] });

  const sent: FromThread[] = [];
  const child = new Ports(2, (message) => sent.push(message));
  const { stub, told, open } = device([2]);
  child.inherit(stub, saved);
  expect(told).toEqual(['2 end']);
  expect(child.save().inUse).toEqual([2]);
  expect(child.onOutput(2, Uint8Array.of(1))).toBe(true);
  child.open(2, 7);
  expect(lines(sent)).toEqual([]);
  open.delete(2);
  child.onGuestOpen(2, false);
  expect(told).toEqual(['2 end', '2 closed', '2 open']);
  expect(lines(sent)).toEqual(['port-ready 2']);
  child.onOutput(2, Uint8Array.of(1));
  expect(lines(sent)).toEqual(['port-ready 2', 'output 2']);

  // What the agent had not taken comes before what the child’s own host says.
  open.add(1);
  child.open(1, 7);
  expect(lines(sent).slice(2)).toEqual(['port-ready 1', 'accepted 1']);
});

test('a packed state is what was packed', () => {
  const hart = { version: 1, registers: Int32Array.of(1, -2) } as unknown as Parameters<typeof packState>[0]['hart'];
  const state = { hart, devices: [], guestMs: 1.5, ports: { inUse: [4], agentInput: [Uint8Array.of(7)] } };
  expect(unpackState(packState(state))).toEqual(state);
});

test('whoever hears that a port has ended is told of which opening', () => {
  const sent: FromThread[] = [];
  const ports = new Ports(1, (message) => sent.push(message));
  ports.attach(device([]).stub);
  ports.open(2, 5);
  ports.endAll();
  // Nobody had it open any more.
  ports.endAll();
  ports.open(2, 6);
  ports.onGuestOpen(2, false);
  expect(sent.filter(({ kind }) => kind === 'port-ended')).toEqual([
    { kind: 'port-ended', vm: 1, port: 2, opening: 5 },
    { kind: 'port-ended', vm: 1, port: 2, opening: 6 },
  ]);
});
