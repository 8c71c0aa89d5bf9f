import { join } from 'node:path';

/** Folder of the logs in the data folder; one folder per source in it. */
export const LOG_FOLDER = 'log';

/** @param data path of the data folder; @param folder name of a log's folder */
export function logFolder(data: string, folder: string): string {
  return join(data, LOG_FOLDER, folder);
}

/** A source's name as a file name. */
export function folderName(source: string): string {
  return encodeURIComponent(source).replaceAll('.', '%2E').replaceAll('*', '%2A');
}
