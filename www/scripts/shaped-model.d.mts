export function writeShapedModel(folder: string): Promise<void>;
