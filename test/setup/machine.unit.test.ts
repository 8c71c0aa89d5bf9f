import { expect, test } from 'vitest';
import { engineRemedy } from './machine.ts';

test('somebody who may not use the Docker engine is told another thing than where none runs', () => {
  const denied = 'Server:\nERROR: permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock';
  expect(engineRemedy(denied)).toContain('sudo usermod -aG docker "$USER"');
  expect(engineRemedy('ERROR: Cannot connect to the Docker daemon. Is the docker daemon running?')).toContain('sudo systemctl start docker');
  for (const output of [denied, '']) expect(engineRemedy(output)).toContain('npm run test:unit');
});
