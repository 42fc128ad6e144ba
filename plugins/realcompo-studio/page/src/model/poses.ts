// Skeletons: OpenPose's 18 joints, what hangs on what, and how people are moved.
import { around, clamp, round4, type Box, type Point } from './geometry';

export type Points = Readonly<Record<string, Point>>;

export const JOINTS = [
  'nose', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder', 'left_elbow', 'left_wrist', 'right_hip',
  'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle', 'right_eye', 'left_eye', 'right_ear', 'left_ear',
] as const;

/** Pairs of joints that a limb joins, as pose ControlNets are shown them. */
export const LIMBS: readonly (readonly [string, string])[] = [
  ['neck', 'right_shoulder'], ['neck', 'left_shoulder'], ['right_shoulder', 'right_elbow'], ['right_elbow', 'right_wrist'],
  ['left_shoulder', 'left_elbow'], ['left_elbow', 'left_wrist'], ['neck', 'right_hip'], ['right_hip', 'right_knee'],
  ['right_knee', 'right_ankle'], ['neck', 'left_hip'], ['left_hip', 'left_knee'], ['left_knee', 'left_ankle'], ['neck', 'nose'],
  ['nose', 'right_eye'], ['right_eye', 'right_ear'], ['nose', 'left_eye'], ['left_eye', 'left_ear'],
];

export const spokenJoint = (name: string): string => name.replace(/_/g, ' ');

const inside = (point: Point): Point => [round4(clamp(point[0], 0, 1)), round4(clamp(point[1], 0, 1))];

export const withJoint = (points: Points, name: string, to: Point): Points => ({ ...points, [name]: inside(to) });

/** All joints moved alike; the person stops at the picture's edge. */
export function movedPerson(points: Points, dx: number, dy: number): Points {
  const box = around(Object.values(points));
  const x = clamp(dx, -box[0], 1 - box[2]);
  const y = clamp(dy, -box[1], 1 - box[3]);
  return mapped(points, (point) => [point[0] + x, point[1] + y]);
}

/** A person fitted from one box to another: joints keep their place in it. */
export function fitted(points: Points, from: Box, to: Box): Points {
  const scale = (value: number, a0: number, a1: number, b0: number, b1: number): number =>
    a1 - a0 < 1e-6 ? (b0 + b1) / 2 : b0 + ((value - a0) / (a1 - a0)) * (b1 - b0);
  return mapped(points, ([x, y]) => [scale(x, from[0], from[2], to[0], to[2]), scale(y, from[1], from[3], to[1], to[3])]);
}

/** The picture's mirror image of a person: left becomes right. */
export function mirrored(points: Points): Points {
  const box = around(Object.values(points));
  const other = (name: string): string => (name.startsWith('left_') ? `right_${name.slice(5)}` : name.startsWith('right_') ? `left_${name.slice(6)}` : name);
  return Object.fromEntries(Object.entries(points).map(([name, [x, y]]) => [other(name), inside([box[0] + box[2] - x, y])]));
}

function mapped(points: Points, by: (point: Point) => Point): Points {
  return Object.fromEntries(Object.entries(points).map(([name, point]) => [name, inside(by(point))]));
}
