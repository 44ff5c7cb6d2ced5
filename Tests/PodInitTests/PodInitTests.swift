// PodInitTests
