import Commands

await CortexMain.run()
